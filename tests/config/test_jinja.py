"""The desk's template language."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from jinja2 import DebugUndefined

from config.jinja import format_time, format_timestamp, make_environment

pytestmark = pytest.mark.django_db


def test_a_missing_value_is_nothing_even_under_debug() -> None:
    """Django passes DebugUndefined then, which writes the name: as the note of every decision, for
    one.
    """
    found = make_environment(undefined=DebugUndefined, autoescape=True)

    assert found.from_string("<textarea>{{ note }}</textarea>").render() == "<textarea></textarea>"


def test_moments_are_told_in_utc() -> None:
    when = datetime(2026, 11, 26, 1, 2, 3, 999_999, tzinfo=timezone(timedelta(hours=2)))

    assert (format_timestamp(when), format_time(when)) == ("2026-11-25 23:02:03", "23:02:03")
