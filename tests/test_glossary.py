"""The names of models and URLs, compared with docs/glossary.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.urls import URLResolver, get_resolver

PAGE = (Path(settings.BASE_DIR) / "docs" / "glossary.md").read_text()
TABLE, ACTIONS = PAGE.split("## Words in URL names")
TERMS = {
    term.strip().lower()
    for cell in re.findall(r"^\| ([^|]+) \|", TABLE, re.MULTILINE)
    for term in cell.split(",")
}


def url_names(resolver: URLResolver) -> Iterator[str]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            if entry.app_name != "admin":
                yield from url_names(entry)
        elif entry.name and "_" not in entry.name:  # django-allauth looks its pages up by name
            yield entry.name


def test_every_model_name_is_in_the_glossary() -> None:
    models = [
        model
        for app in ("generation", "moderation", "sandbox")
        for model in apps.get_app_config(app).get_models()
    ]

    missing = [
        model.__name__ for model in models if str(model._meta.verbose_name).lower() not in TERMS
    ]

    assert missing == []


def test_every_url_name_consists_of_glossary_words() -> None:
    known = {word for term in TERMS for word in re.split(r"[ -]", term)}
    known |= {f"{word}s" for word in known}
    known |= set(re.findall(r"[a-z0-9]+", ACTIONS.split("names of parts:")[1]))

    names = set(url_names(get_resolver()))

    assert [name for name in sorted(names) if not set(name.split("-")) <= known] == []
    assert len(names) > 60
