"""Actions on a contact sheet as requests of the test client.

The requests send only values that the pages contain.
"""

from __future__ import annotations

import re
from typing import Any

from django.test import Client

from moderation.models import Review
from tests.moderation.page_helpers import HTMX

UUID = r"[0-9a-f]{8}-[0-9a-f-]{27}"


def read_field_values(text: str, name: str) -> list[str]:
    """Return the values of all form controls with this name."""
    return re.findall(rf'name="{name}" value="({UUID})"', text)


def claim_sheet(client: Client, address: str = "/queues/waiting/sheet/", **data: Any) -> Any:
    return client.post(address, data)


def fetch_sheet(client: Client, address: str = "/queues/waiting/sheet/") -> str:
    response = client.get(address)
    assert response.status_code == 200
    return str(response.content.decode())


def preview_decision(
    client: Client,
    tiles: list[Review],
    verdict: str = "approve",
    *,
    slug: str = "waiting",
    **data: Any,
) -> Any:
    """Select these tiles on the current sheet and press a verdict."""
    shown = read_field_values(fetch_sheet(client, f"/queues/{slug}/sheet/"), "shown")
    data = {
        "verdict": verdict,
        "tile": [str(review.uuid) for review in tiles],
        "shown": shown,
        **data,
    }
    return client.post(f"/queues/{slug}/sheet/decisions/", data)


def confirm_decision(
    client: Client, previewed: Any, *, slug: str = "waiting", htmx: bool = False, **data: Any
) -> Any:
    """Confirm the preview."""
    text = previewed.content.decode()
    fields = {
        "step": "confirm",
        "verdict": re.findall(r'name="verdict" value="(\w+)"', text.split('id="confirm"')[1])[0],
        "review": read_field_values(text, "review"),
        "batch": read_field_values(text, "batch"),
        "tile": read_field_values(text.split('id="confirm"')[1], "tile"),
        "categories": re.findall(r'type="hidden" name="categories" value="([\w.-]+)"', text),
    }
    headers = HTMX if htmx else {}
    return client.post(f"/queues/{slug}/sheet/decisions/", {**fields, **data}, headers=headers)


def decide(
    client: Client,
    tiles: list[Review],
    verdict: str = "approve",
    *,
    slug: str = "waiting",
    **data: Any,
) -> Any:
    return confirm_decision(
        client, preview_decision(client, tiles, verdict, slug=slug, **data), slug=slug, **data
    )
