"""The registry: slugs from ``settings.CLASSIFIERS`` to classifier objects."""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings
from django.utils.module_loading import import_string

from moderation.classifiers.base import Classifier


@lru_cache
def get(slug: str) -> Classifier:
    """Return the classifier; LookupError for a slug that no code serves (any more)."""
    try:
        path = settings.CLASSIFIER_BACKENDS[slug]
    except KeyError:
        raise LookupError(f"There is no classifier called {slug}.") from None
    classifier: Classifier = import_string(path)()
    return classifier


def active() -> list[Classifier]:
    return [get(slug) for slug in settings.CLASSIFIERS]


def label(slug: str) -> str:
    """How people call it; the slug itself for one that is gone."""
    try:
        return get(slug).label
    except LookupError:
        return slug


def silence_counts(slug: str) -> bool:
    """Whether "nothing found" by this classifier may count towards an approval; never for one that is gone."""
    try:
        return get(slug).trusted_when_silent
    except LookupError:
        return False
