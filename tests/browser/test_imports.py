"""Import in the browser: a folder of files, a fault, and the queue of the set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from moderation.models import ImportSet
from tests.browser.actions import PageOf
from tests.conftest import picture

pytestmark = pytest.mark.django_db(transaction=True)


def test_folder_is_imported_resent_after_a_fault_and_reviewed_as_a_queue(
    page_of: PageOf, senior: User, settings: Any, tmp_path: Path, faults: list[str]
) -> None:
    settings.CLASSIFIERS, settings.DECIDE_OWN_REQUESTS = [], True
    folder = tmp_path / "harbour"
    folder.mkdir()
    for seed in range(3):
        (folder / f"{seed}.png").write_bytes(picture(seed))
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not an image")
    page = page_of(senior)
    page.goto("/imports/")
    page.get_by_label("Name of the set").fill("Harbour")
    page.locator("#import-folder").set_input_files(folder)
    page.route(re.compile("/files/$"), lambda route: route.abort(), times=1)

    page.get_by_role("button", name="Import", exact=True).click()

    panel = page.locator("#import-progress[data-state=done]")
    expect(panel.get_by_role("status")).to_contain_text("1 not sent")
    expect(panel.locator("li[data-outcome=skipped]")).to_contain_text("harbour/notes.txt")
    panel.get_by_role("button", name="Send the rest again").click()
    expect(panel.get_by_role("status")).to_have_text("3 stored, 1 refused, 1 skipped, no images.")
    panel.get_by_role("link", name="Show the result").click()
    expect(page.get_by_role("heading", name="Harbour")).to_be_visible()
    expect(page.get_by_text("harbour/broken.png")).to_be_visible()
    page.get_by_role("button", name="Start reviewing").click()
    expect(page).to_have_url(re.compile("/reviews/.*import_set"))
    assert ImportSet.objects.get().stored == 3
    faults[:] = [fault for fault in faults if "ERR_FAILED" not in fault]


def test_dropped_file_is_imported(page_of: PageOf, senior: User, settings: Any) -> None:
    settings.CLASSIFIERS = []
    page = page_of(senior)
    page.goto("/imports/")
    transfer = page.evaluate_handle(
        """(bytes) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "dawn.png"));
          return transfer;
        }""",
        list(picture(7)),
    )
    page.locator("[data-drop]").dispatch_event("drop", {"dataTransfer": transfer})
    expect(page.locator("li[data-outcome=stored]")).to_contain_text("dawn.png")
