"""The desk's template language."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.template import engines
from django.template.defaultfilters import filesizeformat
from django.utils.safestring import SafeString
from jinja2 import DebugUndefined, Environment
from markupsafe import Markup

from config.jinja import clock, environment, file_size, stamp
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


@pytest.mark.parametrize(
    "value",
    ["<b title=\"a\">'&'</b>", "plain", "", 12, Decimal("1.50"), None, SafeString("<i>"), Markup("<i>"), [1, "<"]],
)
def test_what_is_put_out_is_escaped_as_jinja_escapes_it(value: Any) -> None:
    text = "{{ value }}|{{ 'it is ' ~ value }}|{% for one in [value] %}{{ one }}{% endfor %}|{{ value|safe }}"

    said = environment(autoescape=True).from_string(text).render(value=value)

    assert said == Environment(autoescape=True).from_string(text).render(value=value)
    assert type(said) is str


def test_what_a_template_says_beyond_ascii_arrives() -> None:
    said = environment(autoescape=True).from_string("<p title='512 × 512'>− {{ '…' }} {{ word }}</p>").render(word="ß")

    assert unescape(said) == "<p title='512 × 512'>− … ß</p>"
    assert said.encode().isascii() is False, "what was said by somebody is left as it is"
    assert environment(autoescape=True).from_string("− × …").render().isascii()


@pytest.mark.parametrize("size", [0, 1, 2, 1023, 1024, 1536, 525_517, 2**20, 5 * 2**20 + 7, 2**30, 2**34])
def test_a_files_size_reads_as_django_writes_it(size: int) -> None:
    assert file_size(size) == filesizeformat(size).replace("\xa0", " ")


def test_moments_are_told_in_utc() -> None:
    when = datetime(2026, 11, 26, 1, 2, 3, 999_999, tzinfo=timezone(timedelta(hours=2)))

    assert (stamp(when), clock(when)) == ("2026-11-25 23:02:03", "23:02:03")
