"""The models a provider offers, as suggestions in the form: asked every five minutes, waited for at most two seconds.

Nothing depends on the answer. Without one the field is plain text, and the provider itself has the last word.
"""

from __future__ import annotations

import logging
import queue
import threading

from django.core.cache import cache

from generation import providers
from generation.providers.base import ProviderError

log = logging.getLogger("loupe.checkpoints")

Suggestions = list[tuple[str, str]]  # the name that a submission names, and its title

KEPT_FOR = 300  # seconds
SILENCE_KEPT_FOR = 30  # so that a provider that is down does not make every page wait
WAIT = 2.0


def suggestions(slug: str) -> Suggestions:
    """The first page of models, or nothing when the provider does not answer in time."""
    known: Suggestions | None = cache.get(_key(slug))
    if known is not None:
        return known
    answer: queue.Queue[Suggestions] = queue.Queue(maxsize=1)
    threading.Thread(target=_ask, args=(slug, answer), name=f"models-of-{slug}", daemon=True).start()
    try:
        return answer.get(timeout=WAIT)
    except queue.Empty:
        # The thread goes on; when the answer does come it replaces this.
        cache.add(_key(slug), [], SILENCE_KEPT_FOR)
        return []


def _ask(slug: str, answer: queue.Queue[Suggestions]) -> None:
    found: Suggestions = []
    try:
        found = [(model.name, model.title) for model in providers.get(slug).models().models]
    except (ProviderError, LookupError) as error:
        log.info("no models from %s: %s", slug, error)
    except Exception:
        log.exception("no models from %s", slug)
    cache.set(_key(slug), found, KEPT_FOR if found else SILENCE_KEPT_FOR)
    answer.put(found)


def _key(slug: str) -> str:
    return f"generation.checkpoints.{slug}"
