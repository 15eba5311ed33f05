"""Queries whose text is made once give what the plain ones give."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings
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


def test_rows_are_those_of_the_plain_queryset(make_request: Make) -> None:
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


def test_joined_rows_columns_left_out_and_annotations_arrive(
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
    assert found.metadata == asset.metadata  # read when it is asked for
    assert query.row(pk=asset.pk + 1) is None


def test_lists_of_values_and_a_limit() -> None:
    query = PreparedQuery(
        lambda low: (
            GenerationRequest.objects.filter(seed__gte=low)
            .order_by("seed")
            .values_list("seed", flat=True)[:1]
        ),
        low=int,
    )

    assert query.rows(low=0) == []


def test_an_update_changes_what_it_should_and_counts_it(make_request: Make) -> None:
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


@pytest.mark.skipif(
    not settings.PREPARED_QUERIES, reason="The plain ORM compiles nothing in advance."
)
def test_a_value_that_gets_lost_is_an_error() -> None:
    with pytest.raises(TypeError, match="does not use its parameter 'pk'"):
        PreparedQuery(lambda pk: GenerationRequest.objects.all(), pk=int).rows(pk=1)


@pytest.mark.django_db(transaction=True)
def test_every_thread_has_its_own(make_request: Make) -> None:
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


def test_a_row_that_is_inserted_reads_back_as_it_was(make_request: Make) -> None:
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


def test_reading_straight_from_the_driver_gives_what_djangos_cursor_gives(
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


def test_a_row_that_is_there_already_may_be_inserted_again(
    make_asset: Callable[..., Asset],
) -> None:
    asset = make_asset()
    for _ in range(2):
        insert(NamedCategory(category="gambling", asset_id=asset.pk), ignore_conflicts=True)

    assert NamedCategory.objects.filter(asset=asset).count() == 1


def test_words_are_looked_for_as_one_value() -> None:
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


def test_after_a_failure_it_is_asked_again_as_before(make_asset: Callable[..., Asset]) -> None:
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


def test_without_prepared_queries_the_plain_orm_gives_the_same(
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
