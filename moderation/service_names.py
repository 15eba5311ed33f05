"""Names of outside services and classifiers for people."""

from __future__ import annotations

from generation import providers
from moderation import classifiers


def name_service(slug: str) -> str:
    """Return the label of a provider or a classifier; the slug of a removed one."""
    return providers.list_labels().get(slug) or classifiers.label(slug)
