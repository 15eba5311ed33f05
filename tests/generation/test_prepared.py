"""Queries whose text is made once give what the plain ones give."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, connections, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from generation.models import Asset, GenerationRequest
from generation.models.gathering import split
from generation.models.prepared import Prepared, insert, new
from moderation.models import NamedCategory, WordTally

pytestmark = pytest.mark.django_db
Make = Callable[..., GenerationRequest]


def test_rows_are_those_of_the_plain_queryset(make_request: Make) -> None:
    requests = [make_request(seed=seed) for seed in (1, 2, 3)]
    query = Prepared(
        lambda uuid, seed, now, prompt: GenerationRequest.objects.filter(
            seed__lte=seed, created_at__lt=now, prompt=prompt
        ).exclude(uuid=uuid),
        uuid=UUID, seed=int, now=datetime, prompt=str,
    )  # fmt: skip
    now = timezone.now() + timedelta(minutes=1)

    def ask(uuid: UUID, seed: int, moment: datetime, prompt: str) -> set[int]:
        return {row.pk for row in query.rows(uuid=uuid, seed=seed, now=moment, prompt=prompt)}

    text = requests[0].prompt
    assert ask(uuid4(), 2, now, text) == {requests[0].pk, requests[1].pk}
    assert ask(requests[0].uuid, 2, now, text) == {requests[1].pk}
    assert ask(uuid4(), 2, now - timedelta(hours=1), text) == set()
    assert ask(uuid4(), 9, now, "' or 1=1 --") == set()


def test_joined_rows_columns_left_out_and_annotations_arrive(make_asset: Callable[..., Asset]) -> None:
    asset = make_asset()
    query = Prepared(
        lambda pk: (
            Asset.objects.filter(pk=pk).select_related("request").defer("metadata").annotate(double=F("width") * 2)
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
    query = Prepared(
        lambda low: GenerationRequest.objects.filter(seed__gte=low).order_by("seed").values_list("seed", flat=True)[:1],
        low=int,
    )

    assert query.rows(low=0) == []


def test_an_update_changes_what_it_should_and_counts_it(make_request: Make) -> None:
    one, other = make_request(seed=1), make_request(seed=2)
    query = Prepared(
        lambda seed, more: (GenerationRequest.objects.filter(seed=seed), {"steps": F("steps") + more}),
        seed=int,
        more=int,
    )

    assert query.update(seed=1, more=5) == 1
    assert query.update(seed=99, more=5) == 0
    one.refresh_from_db()
    other.refresh_from_db()
    assert (one.steps, other.steps) == (25, 20)


def test_a_value_that_gets_lost_is_an_error() -> None:
    with pytest.raises(AssertionError, match="got lost"):
        Prepared(lambda pk: GenerationRequest.objects.all(), pk=int).rows(pk=1)


@pytest.mark.django_db(transaction=True)
def test_every_thread_has_its_own(make_request: Make) -> None:
    pk = make_request().pk
    query = Prepared(lambda pk: GenerationRequest.objects.filter(pk=pk), pk=int)
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
    fields = [field.attname for field in GenerationRequest._meta.concrete_fields if not field.primary_key]
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


def test_reading_straight_from_the_driver_gives_what_djangos_cursor_gives(make_asset: Callable[..., Asset]) -> None:
    asset = make_asset()
    query = Prepared(lambda pk: Asset.objects.filter(pk=pk).select_related("request"), pk=int)
    straight = query.row(pk=asset.pk)
    with CaptureQueriesContext(connection):
        through = query.row(pk=asset.pk)
    fields = [field.attname for field in Asset._meta.concrete_fields]
    assert straight is not None
    assert through is not None
    assert [getattr(straight, name) for name in fields] == [getattr(through, name) for name in fields]
    assert straight == Asset.objects.get(pk=asset.pk)


def test_a_new_row_is_what_the_model_makes(make_request: Make, moderator: User) -> None:
    given = {"uuid": uuid4(), "request": make_request(), "stored_by": None, "created_at": timezone.now(), "width": 7}

    row, plain = new(Asset, **given), Asset(**given)

    names = [field.attname for field in Asset._meta.concrete_fields]
    assert {name: getattr(row, name) for name in names} == {name: getattr(plain, name) for name in names}
    assert (row.request, row.stored_by, row._state.adding) == (plain.request, None, True)
    assert new(Asset, stored_by=moderator).stored_by_id == moderator.pk


def test_a_row_that_is_there_already_may_be_inserted_again(make_asset: Callable[..., Asset]) -> None:
    asset = make_asset()
    for _ in range(2):
        insert(NamedCategory(category="gambling", asset_id=asset.pk), again=True)

    assert NamedCategory.objects.filter(asset=asset).count() == 1


def test_words_are_looked_for_as_one_value() -> None:
    for word in ("träumen", "o'clock", "half-light", "plain"):
        WordTally.objects.create(word=word)
    query = Prepared(lambda words: WordTally.objects.filter(word__in=split(words)), words=str)

    assert {row.word for row in query.rows(words="träumen o'clock half-light unknown")} == {
        "träumen", "o'clock", "half-light",
    }  # fmt: skip
    assert query.rows(words="") == []


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's driver keeps them by itself")
@pytest.mark.parametrize(("threshold", "kept"), [(5, 1), (None, 0)])
def test_postgresql_keeps_its_plan_unless_it_is_told_not_to(
    make_asset: Callable[..., Asset], monkeypatch: pytest.MonkeyPatch, threshold: int | None, kept: int
) -> None:
    asset = make_asset()
    monkeypatch.setattr(connection.connection, "prepare_threshold", threshold)
    query = Prepared(lambda width, pk: Asset.objects.filter(pk=pk, width__gte=width, height__gte=3), width=int, pk=int)

    assert [query.row(width=1, pk=asset.pk) for _ in range(8)] == [asset] * 8

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%width%%height%%'")
        assert cursor.fetchone() == (kept,)


def test_after_a_failure_it_is_asked_again_as_before(make_asset: Callable[..., Asset]) -> None:
    """PostgreSQL's driver forgets its plans with what is rolled back, and the server has to forget them too."""
    asset = make_asset()
    query = Prepared(lambda pk: Asset.objects.filter(pk=pk), pk=int)
    insert(NamedCategory(category="gambling", asset_id=asset.pk))
    for _ in range(3):
        assert [query.row(pk=asset.pk) for _ in range(7)] == [asset] * 7
        with pytest.raises(IntegrityError), transaction.atomic():
            insert(NamedCategory(category="gambling", asset_id=asset.pk))
