"""A new field of txt2img, which needs a change in one file and a migration."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.generation.wire import new_field


def add_field(folder: Path) -> dict[str, Any]:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": str(new_field.ROOT),
        "TEST_DATA_DIR": str(folder),
        "TEST_DATABASE_URL": "",
        "TEST_REDIS_URL": "",
    }
    done = subprocess.run(
        [sys.executable, new_field.__file__],
        cwd=new_field.ROOT,
        env=environment,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_field_declared_in_one_file_reaches_form_columns_provider_api_and_documents(
    tmp_path: Path,
) -> None:
    found = add_field(tmp_path)

    assert found["migration"] == ["generation: Add field tiling to generationrequest"]
    for page in ("form", "form_again"):
        assert '<label for="id_tiling">Tiling</label>' in found[page]
        assert "1 to 4 tiles." in found[page]
    assert re.search(r'<input [^>]*name="tiling" value="3"', found["form_again"])
    assert found["form_errors"] == {
        "tiling": ["Tiling must be from 1 to 4."],
        "hires_tiling": ["Hires tiling must be from 1 to 9."],
    }
    assert (found["form_column"], found["sent"]) == (3, 3)
    assert found["api_refusal"] == [
        400,
        {
            "request.hires_fix.tiling": "must be from 1 to 9",
            "request.tiling": "must be from 1 to 4",
        },
    ]
    assert found["api_column"] == 2
    assert found["openapi"] == {
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": 4}, {"type": "null"}],
        "default": None,
        "description": "Repeat the image without seams.",
    }
    assert re.search(r"<dt>Tiling</dt><dd[^>]*><bdi>3</bdi>", found["detail"])
    assert re.search(r'class="[^"]*field-tiling', found["admin"])
