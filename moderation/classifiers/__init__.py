"""Registry of classifiers, by the slugs in ``settings.CLASSIFIERS``."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from django.conf import settings
from django.utils.module_loading import import_string

from moderation.classifiers.base import Classifier, RemoteClassifier, Stage
from moderation.classifiers.picture import PictureClassifier

# The slug of the local detector.
LOCAL = "local"


@lru_cache
def get(slug: str) -> Classifier:
    """Return a classifier. Raises LookupError for a slug without code, such as a removed one."""
    try:
        path = settings.CLASSIFIER_BACKENDS[slug]
    except KeyError:
        raise LookupError(f"There is no classifier called {slug}.") from None
    classifier: Classifier = import_string(path)()
    return classifier


def active() -> list[Classifier]:
    return [get(slug) for slug in settings.CLASSIFIERS]


def list_picture_classifiers() -> list[PictureClassifier]:
    """Return the active classifiers that can judge an image that is not stored."""
    return [classifier for classifier in active() if isinstance(classifier, PictureClassifier)]


def remote() -> dict[str, RemoteClassifier]:
    """Return registered remote classifiers by slug.

    Inactive ones are included, because their rows may still be queued.
    """
    registered = {slug: get(slug) for slug in settings.CLASSIFIER_BACKENDS}
    return {
        slug: found for slug, found in registered.items() if isinstance(found, RemoteClassifier)
    }


def is_remote(slug: str) -> bool:
    """Return whether a classifier is remote; False for a removed one."""
    try:
        return isinstance(get(slug), RemoteClassifier)
    except LookupError:
        return False


def get_stage(slug: str) -> Stage:
    """Return the stage in which a classifier runs; REMOTE for a removed one."""
    try:
        classifier = get(slug)
    except LookupError:
        return Stage.REMOTE
    usual = Stage.REMOTE if is_remote(slug) else Stage.LOCAL
    return Stage(getattr(classifier, "stage", usual))


def list_price(slug: str) -> Decimal:
    """Return the list price of an image in USD; 0 if there is none."""
    try:
        return Decimal(getattr(get(slug), "price", 0))
    except LookupError:
        return Decimal(0)


def is_binary(slug: str) -> bool:
    """Return whether a classifier gives only yes or no, without category and score."""
    try:
        return bool(getattr(get(slug), "is_binary", False))
    except LookupError:
        return False


def is_lookup(slug: str) -> bool:
    """Return whether a classifier only looks up hashes, and judges no content."""
    try:
        return bool(getattr(get(slug), "is_lookup", False))
    except LookupError:
        return False


def reads_embedding(slug: str) -> bool:
    """Return whether a classifier reads the stored embedding, and so runs after it."""
    try:
        return bool(getattr(get(slug), "reads_embedding", False))
    except LookupError:
        return False


def label(slug: str) -> str:
    """Return a classifier's label, or the slug of a removed one."""
    try:
        return get(slug).label
    except LookupError:
        return slug


def short_label(slug: str) -> str:
    """Return a classifier's label for a narrow column: without what stands in brackets."""
    try:
        found = get(slug)
    except LookupError:
        return slug
    return str(getattr(found, "short_label", "")) or found.label.partition(" (")[0]


def list_untrusted() -> list[str]:
    """Return the registered classifiers whose silence counts only if a policy names them."""
    return [
        slug
        for slug in settings.CLASSIFIER_BACKENDS
        if not silence_counts(slug) and describe_silence(slug)
    ]


def describe_silence(slug: str) -> str:
    """Return a sentence about what "nothing found" of a classifier means.

    Classifiers that are not trusted by themselves state it as ``silence``. Empty: it means nothing.
    """
    try:
        return str(getattr(get(slug), "silence", "It does not count by itself."))
    except LookupError:
        return "This classifier is not installed any more."


def silence_counts(slug: str) -> bool:
    """Return whether "nothing found" may count towards an approval; False for a removed one."""
    try:
        return get(slug).trusted_when_silent
    except LookupError:
        return False
