"""Icons: the sprite has every name, and a wrong name is found when the template renders."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template import Context, Template, engines

from moderation.presenters.icons import ICONS, UnknownIconError

STATIC = Path(settings.BASE_DIR) / "static"


def test_sprite_has_exactly_the_icons_of_the_table() -> None:
    names = re.findall(r'<symbol id="([^"]+)"', (STATIC / "icons.svg").read_text())

    assert names == list(ICONS)


def test_both_template_languages_render_the_same_icon() -> None:
    django = Template('{% load desk %}{% icon "check" %}').render(Context())
    jinja = engines["jinja2"].from_string('{{ icon("check") }}').render()

    assert django == jinja
    assert '#check"' in django
    assert 'aria-hidden="true"' in django


def test_unknown_icon_raises() -> None:
    with pytest.raises(UnknownIconError, match="“chekc”"):
        Template('{% load desk %}{% icon "chekc" %}').render(Context())


def test_every_font_file_is_in_the_stylesheet_and_has_its_licence() -> None:
    named = re.findall(r"fonts/([^\"]+)\"", (STATIC / "css" / "fonts.css").read_text())

    assert sorted(named) == sorted(file.name for file in (STATIC / "fonts").glob("*.woff2"))
    assert "SIL OPEN FONT LICENSE" in (STATIC / "fonts" / "LICENSE.txt").read_text()
