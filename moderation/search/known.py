"""Names that searches can filter by. Cached for a minute, because they seldom change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.core.cache import caches
from django.db import connection
from django.db.models import BooleanField, F, QuerySet, Value
from django.db.models.functions import Length

from generation import providers
from generation.core.text import fold_text
from generation.models import ApiKey, GenerationRequest, ProviderState

CACHE_SECONDS = 60
MODELS_MAX = 2000
# Maximum number of models or people that a partial name can match.
MATCHES_MAX = 20
_TABLE = GenerationRequest._meta.db_table
# Loose index scan: a DISTINCT would read every request.
_MODELS = f"""
    WITH RECURSIVE names(name) AS (
        SELECT MIN(model_name) FROM {_TABLE}
        UNION ALL
        SELECT (SELECT MIN(model_name) FROM {_TABLE} WHERE model_name > names.name) FROM names WHERE name IS NOT NULL
    )
    SELECT name FROM names WHERE name IS NOT NULL LIMIT {MODELS_MAX}
"""


def list_models() -> list[str]:
    """Return all models that were ever used."""
    return _cached("search:models", _read_models)


def list_providers() -> dict[str, str]:
    """Return labels by slug of current and former providers."""
    available = providers.list_labels()
    return {**{slug: slug for slug in _cached("search:providers", _read_providers)}, **available}


def match_models(text: str) -> list[str]:
    """Return the model with this name, or those whose names contain the text."""
    names = list_models()
    if text in names:
        return [text]
    part = fold_text(text)
    return [name for name in names if part and part in fold_text(name)][:MATCHES_MAX]


def match_people(text: str) -> tuple[list[int], list[int]]:
    """Return user ids and API key ids with this name, ignoring case, or else with this prefix."""
    users = _match_prefix(User.objects.filter(username__istartswith=text), "username", is_key=False)
    keys = _match_prefix(ApiKey.objects.filter(name__istartswith=text), "name", is_key=True)
    found = list(users.union(keys).order_by("length")[:MATCHES_MAX])
    rows = [row for row in found if row["called"].casefold() == text.casefold()] or found
    return [row["pk"] for row in rows if not row["is_key"]], [
        row["pk"] for row in rows if row["is_key"]
    ]


def _match_prefix(rows: QuerySet[Any], name: str, *, is_key: bool) -> QuerySet[Any, Any]:
    kind = Value(is_key, output_field=BooleanField())
    return rows.values("pk", called=F(name), length=Length(name), is_key=kind)


def _cached(key: str, read: Callable[[], list[str]]) -> list[str]:
    found: list[str] | None = caches["figures"].get(key)
    if found is None:
        found = read()
        caches["figures"].set(key, found, CACHE_SECONDS)
    return found


def _read_models() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_MODELS)
        return [row[0] for row in cursor.fetchall()]


def _read_providers() -> list[str]:
    return list(ProviderState.objects.order_by("slug").values_list("slug", flat=True))
