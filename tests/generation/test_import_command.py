"""The import from Scenario by the command, from the sandbox over a socket."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from generation.models import Asset, ImportRun
from generation.sandbox import library
from generation.services import importing

Status = ImportRun.Status
EXPECTED = [exhibit for exhibit in library.ASSETS if exhibit.is_image]
LOST = {library.BROKEN, library.PAGE, library.GONE, library.EXPIRED, library.PENDING}
STORED = [exhibit for exhibit in EXPECTED if exhibit.trait not in LOST]


def command(*args: str) -> str:
    out = io.StringIO()
    call_command("import_scenario", *args, stdout=out, stderr=io.StringIO())
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_import_stores_every_usable_asset_of_the_sandbox(
    scenario_sandbox: Callable[..., None],
) -> None:
    summary = command()

    refused = len(EXPECTED) - len(STORED)
    assert summary.startswith(
        f"{len(STORED)} images stored and queued for classification, 0 already known, "
    )
    assert f"{refused} refused, 3 no images." in summary
    assert "The list is complete." in summary
    assert "X-Amz" not in summary
    assert set(Asset.objects.values_list("external_id", flat=True)) == {
        exhibit.id for exhibit in STORED
    }
    twins = [exhibit for exhibit in library.ASSETS if exhibit.trait == library.TWIN]
    for twin in twins:
        pair = Asset.objects.filter(external_id__in=[twin.id, library.ASSETS[twin.number - 1].id])
        assert len(set(pair.values_list("sha256", flat=True))) == 1
        assert pair.count() == 2


@pytest.mark.django_db(transaction=True)
def test_import_command_reports_errors_and_how_to_continue(
    scenario_sandbox: Callable[..., None], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(importing, "BUSY_PAUSE", timedelta(0))
    assert "There is more. Run this again" in command("--limit", "2")
    scenario_sandbox("sandbox-429")
    assert command("--limit", "1").startswith("1 images stored")
    scenario_sandbox("sandbox-403")
    with pytest.raises(CommandError, match="Loupe's own settings"):
        command()
    with pytest.raises(CommandError, match="1 or more"):
        command("--limit", "0")
    settings.SCENARIO = None
    with pytest.raises(CommandError, match="Scenario is not configured"):
        command()
