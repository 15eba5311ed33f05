"""The registry: slugs from ``settings.CLASSIFIERS`` to classifier objects."""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings
from django.utils.module_loading import import_string

from moderation.classifiers.base import BytesClassifier, Classifier, RemoteClassifier

# The one whose silence a policy may trust by name.
LOCAL = "local"


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


def judging_bytes() -> list[BytesClassifier]:
    """Those in use that can judge an image that is not stored."""
    return [classifier for classifier in active() if isinstance(classifier, BytesClassifier)]


def remote() -> dict[str, RemoteClassifier]:
    """Those asked over a network, by slug: registered ones, in use or not, because rows of theirs
    may still wait.
    """
    registered = {slug: get(slug) for slug in settings.CLASSIFIER_BACKENDS}
    return {
        slug: found for slug, found in registered.items() if isinstance(found, RemoteClassifier)
    }


def is_binary(slug: str) -> bool:
    """Whether it only ever says yes or no, without a category and without a number."""
    try:
        return bool(getattr(get(slug), "is_binary", False))
    except LookupError:
        return False


def label(slug: str) -> str:
    """How people call it; the slug itself for one that is gone."""
    try:
        return get(slug).label
    except LookupError:
        return slug


def silence_counts(slug: str) -> bool:
    """Whether "nothing found" by this classifier may count towards an approval; never for one that
    is gone.
    """
    try:
        return get(slug).trusted_when_silent
    except LookupError:
        return False
