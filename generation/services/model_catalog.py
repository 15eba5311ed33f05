"""Catalog of the models that a provider offers, cached on disk.

The provider is called at most every five minutes per query, and a page waits at most two seconds.
The last good response to each query is kept without expiry, so the model picker works during an
outage and shows the age of its list. Without a list, users type the model's name. The provider
validates the name in either case.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import threading
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import caches
from django.utils import timezone

from generation import providers
from generation.providers.base import Model, ModelPage, ProviderBusyError, ProviderError

log = logging.getLogger("loupe.model_catalog")

KINDS = {
    "checkpoint": "Checkpoints",
    "lora": "LoRAs",
    "vae": "VAEs",
    "textualinversion": "Embeddings",
}
PAGE_SIZE = 50
FRESH_FOR = timedelta(minutes=5)
NEGATIVE_CACHE_SECONDS = 30  # seconds; a failed provider then delays only one page
WAIT = 2.0
QUERY_MAX = 200  # characters
KNOWN_MAX = 5000  # checkpoints whose SDXL flag is remembered


@dataclass(frozen=True, kw_only=True)
class CatalogQuery:
    """A query to a provider's list of models."""

    provider: str
    kind: str = "checkpoint"
    query: str = ""
    is_sdxl: bool | None = None
    visibility: str = ""
    source: str = ""
    cursor: str = ""

    @property
    def key(self) -> str:
        """Return the cache key of the query."""
        text = json.dumps(asdict(self), sort_keys=True)
        return "offer." + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, kw_only=True)
class CatalogPage:
    """One page of models, with its age and the reason if it is not current."""

    models: tuple[Model, ...] = ()
    next_cursor: str = ""
    asked_at: datetime | None = None  # None: no response has ever been received
    problem: str = ""  # message: reason why this page is not current


def fetch_page(question: CatalogQuery) -> CatalogPage:
    """Return a page of models: the current one, else the last known one, else an empty one.

    Never raises. ``problem`` gives the reason when the page is not current.
    """
    cached = _load_page(question)
    if cached and cached.asked_at and timezone.now() - cached.asked_at < FRESH_FOR:
        return cached
    problem = caches["figures"].get(_negative_cache_key(question.provider)) or caches[
        "figures"
    ].get(_negative_cache_key(question.key))
    if not problem:
        answer: queue.Queue[CatalogPage] = queue.Queue(maxsize=1)
        name = f"models-of-{question.provider}"
        threading.Thread(
            target=_fetch_from_provider, args=(question, answer), name=name, daemon=True
        ).start()
        try:
            offer = answer.get(timeout=WAIT)
        except queue.Empty:
            # The thread continues; a late response is still cached.
            offer = CatalogPage(problem="The provider did not answer in time.")
            caches["figures"].add(
                _negative_cache_key(question.provider), offer.problem, NEGATIVE_CACHE_SECONDS
            )
        if not offer.problem:
            return offer
        problem = offer.problem
    old = cached or CatalogPage()
    return CatalogPage(
        models=old.models, next_cursor=old.next_cursor, asked_at=old.asked_at, problem=problem
    )


def suggest_checkpoints(slug: str) -> list[tuple[str, str]]:
    """Return the first checkpoints as (name, title); an empty list without any response."""
    return [(model.name, model.title) for model in fetch_page(CatalogQuery(provider=slug)).models]


class CatalogUnavailableError(Exception):
    """The list of models cannot be read and no earlier response exists.

    ``str(error)`` gives the reason.
    """


def is_sdxl(slug: str, model_name: str) -> bool | None:
    """Return whether a checkpoint is SDXL; None when the provider lists no such model.

    Queries the provider for names that are not cached, so that the result does not depend on
    which pages were listed before. Raises CatalogUnavailableError.
    """
    known = _load_entry(f"sdxl.{slug}")
    if model_name not in known:
        offer = fetch_page(CatalogQuery(provider=slug, query=model_name[:QUERY_MAX]))
        if offer.asked_at is None:
            raise CatalogUnavailableError(offer.problem or "The provider did not say why.")
        known = {model.name: model.is_sdxl for model in offer.models}
    found: bool | None = known.get(model_name)
    return found


def _fetch_from_provider(question: CatalogQuery, answer: queue.Queue[CatalogPage]) -> None:
    """Call the provider in a thread; cache the response, or the failure for a short time."""
    silent = question.key
    try:
        page = providers.get_provider(question.provider).list_models(
            kind=question.kind,
            query=question.query,
            is_sdxl=question.is_sdxl,
            visibility=question.visibility,
            source=question.source,
            cursor=question.cursor,
            limit=PAGE_SIZE,
        )
    except (ProviderError, LookupError) as error:
        log.info("no models from %s: %s", question.provider, error)
        problem = str(error)
        if isinstance(error, ProviderBusyError):  # the whole provider is down, not only this query
            silent = question.provider
    except Exception:
        log.exception("no models from %s", question.provider)
        problem = "The provider's list of models could not be read."
    else:
        caches["figures"].delete(_negative_cache_key(question.provider))
        answer.put(_cache_page(question, page))
        return
    caches["figures"].set(_negative_cache_key(silent), problem, NEGATIVE_CACHE_SECONDS)
    answer.put(CatalogPage(problem=problem))


# --- Storage: JSON. Entries of an older version are at worst unreadable. ---


def _cache_page(question: CatalogQuery, page: ModelPage) -> CatalogPage:
    """Cache a page of models and the SDXL flags of its checkpoints."""
    asked_at = timezone.now()
    rows = [asdict(model) for model in page.models]
    _save_entry(
        question.key,
        {"models": rows, "next_cursor": page.next_cursor, "asked_at": asked_at.isoformat()},
    )
    if question.kind == "checkpoint":
        known = _load_entry(f"sdxl.{question.provider}") | {
            model.name: model.is_sdxl for model in page.models
        }
        _save_entry(f"sdxl.{question.provider}", dict(list(known.items())[-KNOWN_MAX:]))
    return CatalogPage(models=page.models, next_cursor=page.next_cursor, asked_at=asked_at)


def _load_page(question: CatalogQuery) -> CatalogPage | None:
    """Return the cached page; None if there is none or it is unreadable."""
    stored = _load_entry(question.key)
    try:
        models = tuple(
            Model(
                **{
                    **row,
                    "tags": tuple(row["tags"]),
                    "categories": tuple(row.get("categories", ())),
                }
            )
            for row in stored["models"]
        )
        asked_at = datetime.fromisoformat(stored["asked_at"])
    except (LookupError, TypeError, ValueError):
        return None
    return CatalogPage(models=models, next_cursor=stored.get("next_cursor", ""), asked_at=asked_at)


def _load_entry(key: str) -> dict[str, Any]:
    """Load a JSON object from the disk cache; an empty one if it is missing or unreadable."""
    try:
        found = json.loads(caches["models"].get(key, "{}"))
    except Exception:  # a broken file, or one owned by another user, counts as missing
        log.exception("the cached lists of models cannot be read")
        return {}
    return found if isinstance(found, dict) else {}


def _save_entry(key: str, value: dict[str, Any]) -> None:
    try:
        caches["models"].set(key, json.dumps(value))
    except OSError:
        log.exception("the list of models cannot be cached")


def _negative_cache_key(of: str) -> str:
    """Return the cache key for a failed query or provider."""
    return f"generation.services.model_catalog.silent.{of}"
