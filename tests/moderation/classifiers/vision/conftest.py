"""Fixtures: a folder of data, and the toy model installed in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moderation.classifiers.vision.installed import InstalledModel
from moderation.services import vision_models
from moderation.services.vision_models import Consent
from tests.moderation.classifiers.vision.toy import write_model

CONSENT = Consent("ann", accepts_licence=True, allows_unknown=True)


@pytest.fixture
def data_dir(tmp_path: Path, settings: Any) -> Path:
    settings.DATA_DIR = tmp_path / "data"
    settings.VISION_MODEL = "toy"
    return tmp_path / "data"


@pytest.fixture
def toy(data_dir: Path, tmp_path: Path) -> InstalledModel:
    return vision_models.add(write_model(tmp_path / "toy"), consent=CONSENT)
