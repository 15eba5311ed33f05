"""What models a provider offers: asked at most every five minutes, waited for at most two seconds,
kept for ever.

Nothing depends on an answer. The last good one to each question is kept on disk, so that the picker
works while the provider does not, and says how old it is. Without any, a model's name is written by
hand; the provider has the last word in either case.
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

from django.core.cache import cache, caches
from django.utils import timezone

from generation import providers
from generation.providers.base import Model, ModelPage, ProviderBusyError, ProviderError

log = logging.getLogger("loupe.offers")

KINDS = {
    "checkpoint": "Checkpoints",
    "lora": "LoRAs",
    "vae": "VAEs",
    "textualinversion": "Embeddings",
}
PAGE_SIZE = 50
FRESH_FOR = timedelta(minutes=5)
SILENCE_KEPT_FOR = 30  # seconds, so that a provider that is down does not make every page wait
WAIT = 2.0
QUERY_MAX = 200  # characters
KNOWN_MAX = 5000  # checkpoints of which is remembered whether they are SDXL


@dataclass(frozen=True, kw_only=True)
class CatalogQuery:
    provider: str
    kind: str = "checkpoint"
    query: str = ""
    is_sdxl: bool | None = None
    visibility: str = ""
    source: str = ""
    cursor: str = ""

    @property
    def key(self) -> str:
        text = json.dumps(asdict(self), sort_keys=True)
        return "offer." + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, kw_only=True)
class CatalogPage:
    models: tuple[Model, ...] = ()
    next_cursor: str = ""
    asked_at: datetime | None = None  # None: there has never been an answer
    problem: str = ""  # why this is not today's answer, as a sentence


def fetch_page(question: CatalogQuery) -> CatalogPage:
    """A page of models: today's, or the last one known with the reason why, or an empty one. Never
    raises.
    """
    kept = _read(question)
    if kept and kept.asked_at and timezone.now() - kept.asked_at < FRESH_FOR:
        return kept
    problem = cache.get(_negative_cache_key(question.provider)) or cache.get(
        _negative_cache_key(question.key)
    )
    if not problem:
        answer: queue.Queue[CatalogPage] = queue.Queue(maxsize=1)
        name = f"models-of-{question.provider}"
        threading.Thread(target=_ask, args=(question, answer), name=name, daemon=True).start()
        try:
            offer = answer.get(timeout=WAIT)
        except queue.Empty:
            # The thread goes on; when the answer does come it is kept.
            offer = CatalogPage(problem="The provider did not answer in time.")
            cache.add(_negative_cache_key(question.provider), offer.problem, SILENCE_KEPT_FOR)
        if not offer.problem:
            return offer
        problem = offer.problem
    old = kept or CatalogPage()
    return CatalogPage(
        models=old.models, next_cursor=old.next_cursor, asked_at=old.asked_at, problem=problem
    )


def suggestions(slug: str) -> list[tuple[str, str]]:
    """The first checkpoints as (name, title), or nothing when there has never been an answer."""
    return [(model.name, model.title) for model in fetch_page(CatalogQuery(provider=slug)).models]


class CatalogUnavailableError(Exception):
    """The provider's list of models cannot be read, and there is no earlier answer. ``str(error)``
    says why.
    """


def is_sdxl(slug: str, model_name: str) -> bool | None:
    """Return whether a checkpoint is SDXL; None when the provider lists no such model.

    Asks the provider for a name that no list has held so far, so that the answer does not depend on
    what was listed before. Raises CatalogUnavailableError.
    """
    known = _load(f"sdxl.{slug}")
    if model_name not in known:
        offer = fetch_page(CatalogQuery(provider=slug, query=model_name[:QUERY_MAX]))
        if offer.asked_at is None:
            raise CatalogUnavailableError(offer.problem or "The provider did not say why.")
        known = {model.name: model.is_sdxl for model in offer.models}
    found: bool | None = known.get(model_name)
    return found


def _ask(question: CatalogQuery, answer: queue.Queue[CatalogPage]) -> None:
    silent = question.key
    try:
        page = providers.get(question.provider).models(
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
        if isinstance(error, ProviderBusyError):  # down, rather than displeased with this question
            silent = question.provider
    except Exception:
        log.exception("no models from %s", question.provider)
        problem = "The provider's list of models could not be read."
    else:
        cache.delete(_negative_cache_key(question.provider))
        answer.put(_keep(question, page))
        return
    cache.set(_negative_cache_key(silent), problem, SILENCE_KEPT_FOR)
    answer.put(CatalogPage(problem=problem))


# --- The store: JSON, so that an older version's answer is at worst unreadable ---


def _keep(question: CatalogQuery, page: ModelPage) -> CatalogPage:
    asked_at = timezone.now()
    rows = [asdict(model) for model in page.models]
    _save(
        question.key,
        {"models": rows, "next_cursor": page.next_cursor, "asked_at": asked_at.isoformat()},
    )
    if question.kind == "checkpoint":
        known = _load(f"sdxl.{question.provider}") | {
            model.name: model.is_sdxl for model in page.models
        }
        _save(f"sdxl.{question.provider}", dict(list(known.items())[-KNOWN_MAX:]))
    return CatalogPage(models=page.models, next_cursor=page.next_cursor, asked_at=asked_at)


def _read(question: CatalogQuery) -> CatalogPage | None:
    stored = _load(question.key)
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


def _load(key: str) -> dict[str, Any]:
    try:
        found = json.loads(caches["models"].get(key, "{}"))
    except Exception:  # a file that is broken, or that another user owns: as if it were not there
        log.exception("the kept lists of models cannot be read")
        return {}
    return found if isinstance(found, dict) else {}


def _save(key: str, value: dict[str, Any]) -> None:
    try:
        caches["models"].set(key, json.dumps(value))
    except OSError:
        log.exception("the list of models cannot be kept")


def _negative_cache_key(of: str) -> str:
    return f"generation.services.model_catalog.silent.{of}"
