"""The Jinja environment."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from jinja2 import DebugUndefined

from config.jinja import format_time, format_timestamp, make_environment

pytestmark = pytest.mark.django_db


def test_undefined_value_renders_as_empty_even_with_debug() -> None:
    """With DEBUG, Django passes DebugUndefined, which would print the variable's name in a form."""
    found = make_environment(undefined=DebugUndefined, autoescape=True)

    assert found.from_string("<textarea>{{ note }}</textarea>").render() == "<textarea></textarea>"


def test_timestamps_are_formatted_in_utc() -> None:
    when = datetime(2026, 11, 26, 1, 2, 3, 999_999, tzinfo=timezone(timedelta(hours=2)))

    assert (format_timestamp(when), format_time(when)) == ("2026-11-25 23:02:03", "23:02:03")
