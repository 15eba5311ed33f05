"""Prepared queries compared with the plain ORM."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from generation.core.db.functions import split_words
from generation.core.db.prepared.query import PreparedQuery, insert
from generation.models import Asset, GenerationRequest
from moderation.models import NamedCategory, WordStats

pytestmark = pytest.mark.django_db
Make = Callable[..., GenerationRequest]


def test_prepared_query_returns_the_rows_of_its_queryset(make_request: Make) -> None:
    requests = [make_request(seed=seed) for seed in (1, 2, 3)]
    query = PreparedQuery(
        lambda uuid, seed, now, prompt: GenerationRequest.objects.filter(
            seed__lte=seed, created_at__lt=now, prompt=prompt
        ).exclude(uuid=uuid),
        uuid=UUID,
        seed=int,
        now=datetime,
        prompt=str,
    )
    now = timezone.now() + timedelta(minutes=1)

    def ask(uuid: UUID, seed: int, moment: datetime, prompt: str) -> set[int]:
        return {row.pk for row in query.rows(uuid=uuid, seed=seed, now=moment, prompt=prompt)}

    text = requests[0].prompt
    assert ask(uuid4(), 2, now, text) == {requests[0].pk, requests[1].pk}
    assert ask(requests[0].uuid, 2, now, text) == {requests[1].pk}
    assert ask(uuid4(), 2, now - timedelta(hours=1), text) == set()
    assert ask(uuid4(), 9, now, "' or 1=1 --") == set()


def test_prepared_query_supports_joins_deferred_columns_and_annotations(
    make_asset: Callable[..., Asset],
) -> None:
    asset = make_asset()
    query = PreparedQuery(
        lambda pk: (
            Asset.objects.filter(pk=pk)
            .select_related("request")
            .defer("metadata")
            .annotate(double=F("width") * 2)
        ),
        pk=int,
    )

    with CaptureQueriesContext(connection) as queries:
        found = query.row(pk=asset.pk)
        assert found is not None
        assert (found.sha256, found.request, found.double) == (asset.sha256, None, asset.width * 2)
    assert len(queries) == 1
    assert found.metadata == asset.metadata  # a deferred column: a second query reads it
    assert query.row(pk=asset.pk + 1) is None


def test_prepared_query_supports_values_list_and_a_limit(make_request: Make) -> None:
    for seed in (7, 3, 9):
        make_request(seed=seed)
    query = PreparedQuery(
        lambda low: (
            GenerationRequest.objects.filter(seed__gte=low)
            .order_by("seed")
            .values_list("seed", flat=True)[:1]
        ),
        low=int,
    )

    assert query.rows(low=4) == [7]
    assert query.rows(low=10) == []


def test_prepared_update_changes_the_matching_rows_and_returns_their_number(
    make_request: Make,
) -> None:
    one, other = make_request(seed=1), make_request(seed=2)
    query = PreparedQuery(
        lambda seed, more: (
            GenerationRequest.objects.filter(seed=seed),
            {"steps": F("steps") + more},
        ),
        seed=int,
        more=int,
    )

    assert query.update(seed=1, more=5) == 1
    assert query.update(seed=99, more=5) == 0
    one.refresh_from_db()
    other.refresh_from_db()
    assert (one.steps, other.steps) == (25, 20)


def test_prepared_query_with_an_unused_parameter_raises_type_error(settings: Any) -> None:
    settings.PREPARED_QUERIES = True  # the plain ORM compiles nothing in advance
    with pytest.raises(TypeError, match="does not use its parameter 'pk'"):
        PreparedQuery(lambda pk: GenerationRequest.objects.all(), pk=int).rows(pk=1)


@pytest.mark.django_db(transaction=True)
def test_prepared_query_works_in_parallel_threads(make_request: Make) -> None:
    pk = make_request().pk
    query = PreparedQuery(lambda pk: GenerationRequest.objects.filter(pk=pk), pk=int)
    found: list[int] = []

    def work() -> None:
        for _ in range(20):
            found.extend(row.pk for row in query.rows(pk=pk))
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [pk] * 80


def test_inserted_row_reads_back_unchanged(make_request: Make) -> None:
    model = make_request(seed=7)
    model.refresh_from_db()
    fields = [
        field.attname for field in GenerationRequest._meta.concrete_fields if not field.primary_key
    ]
    for seed in (8, 9):
        values = {name: getattr(model, name) for name in fields}
        row = GenerationRequest(**{**values, "uuid": uuid4(), "form_token": uuid4(), "seed": seed})
        insert(row)
        assert (row.pk > model.pk, row._state.adding) == (True, False)
        stored = GenerationRequest.objects.get(pk=row.pk)
        assert [getattr(stored, name) for name in fields] == [getattr(row, name) for name in fields]

    twice = GenerationRequest(**{name: getattr(stored, name) for name in fields})
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(twice)


def test_driver_and_django_cursor_return_the_same_row(
    make_asset: Callable[..., Asset],
) -> None:
    asset = make_asset()
    query = PreparedQuery(lambda pk: Asset.objects.filter(pk=pk).select_related("request"), pk=int)
    straight = query.row(pk=asset.pk)
    with CaptureQueriesContext(connection):
        through = query.row(pk=asset.pk)
    fields = [field.attname for field in Asset._meta.concrete_fields]
    assert straight is not None
    assert through is not None
    assert [getattr(straight, name) for name in fields] == [
        getattr(through, name) for name in fields
    ]
    assert straight == Asset.objects.get(pk=asset.pk)


def test_insert_can_ignore_an_existing_row(
    make_asset: Callable[..., Asset],
) -> None:
    asset = make_asset()
    for _ in range(2):
        insert(NamedCategory(category="gambling", asset_id=asset.pk), ignore_conflicts=True)

    assert NamedCategory.objects.filter(asset=asset).count() == 1


def test_prepared_query_finds_several_words_passed_as_one_value() -> None:
    for word in ("träumen", "o'clock", "half-light", "plain"):
        WordStats.objects.create(word=word)
    query = PreparedQuery(
        lambda words: WordStats.objects.filter(word__in=split_words(words)), words=str
    )

    assert {row.word for row in query.rows(words="träumen o'clock half-light unknown")} == {
        "träumen",
        "o'clock",
        "half-light",
    }
    assert query.rows(words="") == []


def test_prepared_query_works_again_after_a_database_error(
    make_asset: Callable[..., Asset],
) -> None:
    asset = make_asset()
    query = PreparedQuery(lambda pk: Asset.objects.filter(pk=pk), pk=int)
    insert(NamedCategory(category="gambling", asset_id=asset.pk))
    for _ in range(3):
        assert [query.row(pk=asset.pk) for _ in range(7)] == [asset] * 7
        with pytest.raises(IntegrityError), transaction.atomic():
            insert(NamedCategory(category="gambling", asset_id=asset.pk))


def test_prepared_queries_are_counted_and_logged_like_any_other(
    make_asset: Callable[..., Asset],
    django_assert_num_queries: Callable[[int], AbstractContextManager[Any]],
) -> None:
    asset = make_asset()
    query = PreparedQuery(lambda pk: Asset.objects.filter(pk=pk), pk=int)
    change = PreparedQuery(lambda pk: (Asset.objects.filter(pk=pk), {"width": 9}), pk=int)
    query.row(pk=asset.pk)

    with django_assert_num_queries(3) as log:
        query.row(pk=asset.pk)
        change.update(pk=asset.pk)
        insert(NamedCategory(category="gambling", asset_id=asset.pk))

    assert [entry["sql"].split()[0] for entry in log.captured_queries] == [
        "SELECT",
        "UPDATE",
        "INSERT",
    ]


def test_plain_orm_returns_the_same_as_prepared_queries(
    make_asset: Callable[..., Asset], settings: Any
) -> None:
    asset = make_asset()
    query = PreparedQuery(lambda pk: Asset.objects.filter(pk=pk).select_related("request"), pk=int)
    change = PreparedQuery(
        lambda pk, width: (Asset.objects.filter(pk=pk), {"width": width}), pk=int, width=int
    )
    found = []
    for is_on in (True, False):
        settings.PREPARED_QUERIES = is_on
        found.append((change.update(pk=asset.pk, width=9), query.row(pk=asset.pk), query.row(pk=0)))
        for _ in range(2):
            insert(
                NamedCategory(category=f"gambling{is_on}", asset_id=asset.pk), ignore_conflicts=True
            )

    assert found[0] == found[1] == (1, asset, None)
    assert NamedCategory.objects.filter(asset=asset).count() == 2
