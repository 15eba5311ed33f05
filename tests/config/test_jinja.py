"""The desk's template language."""

from __future__ import annotations

from jinja2 import DebugUndefined

from config.jinja import environment


def test_a_missing_value_is_nothing_even_under_debug() -> None:
    """Django passes DebugUndefined then, which writes the name: as the note of every decision, for one."""
    found = environment(undefined=DebugUndefined, autoescape=True)

    assert found.from_string("<textarea>{{ note }}</textarea>").render() == "<textarea></textarea>"
