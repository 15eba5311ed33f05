"""The desk's template language."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.template import engines
from jinja2 import DebugUndefined

from config.jinja import environment
from moderation.models import Preferences
from moderation.queues import QUEUES
from moderation.screen import panel
from tests.moderation.browsing import Make, held

pytestmark = pytest.mark.django_db


def test_a_missing_value_is_nothing_even_under_debug() -> None:
    """Django passes DebugUndefined then, which writes the name: as the note of every decision, for one."""
    found = environment(undefined=DebugUndefined, autoescape=True)

    assert found.from_string("<textarea>{{ note }}</textarea>").render() == "<textarea></textarea>"


def test_parts_that_are_put_in_place_say_what_included_parts_say(make_review: Make, moderator: User) -> None:
    """In production they are put in place; while somebody changes templates they are included."""
    context = panel(user=moderator, review=held(make_review, moderator), queue=QUEUES["waiting"])
    context |= {"preferences": Preferences(), "user": moderator, "chosen": [], "address": "/reviews/x/", "hidden": ""}
    loader, texts = engines["jinja2"].env.loader, []
    for auto_reload in (False, True):
        found = environment(loader=loader, autoescape=True, auto_reload=auto_reload)
        texts.append(found.get_template("desk/panel.html").render(context))

    assert "Approve" in texts[0]
    assert "".join(texts[0].split()) == "".join(texts[1].split())
