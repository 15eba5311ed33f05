"""How a search is carried out: by which index, how far, and that it never reads everything."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext

from generation.models import (
    Asset,
    AssetText,
    GenerationRequest,
    HashBand,
    ProviderState,
    image_search,
)
from moderation.models import NamedCategory, Review
from moderation.search import conditions, known, page, plan, sample
from moderation.search.conditions import (
    AnyOf,
    Columns,
    Condition,
    Decided,
    Model,
    Named,
    Requester,
    Seed,
    Span,
    Words,
)
from moderation.search.query import SEED_MAX, parse
from tests.moderation.page_helpers import As, Make, label
from tests.moderation.search_factories import _nothing_kept, found, look, short, text_of  # noqa: F401

ALL = Span(0, SEED_MAX)
sqlite_only = pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's plans")


@pytest.fixture
def reviews(make_review: Make, make_request: Callable[..., GenerationRequest]) -> list[Review]:
    """Ten images, oldest first: all of a harbour, the first at dawn, the second by another
    model.
    """
    made = []
    for number in range(10):
        prompt = f"a harbour {'at dawn' if number == 0 else 'by night'}"
        name = "birch" if number == 1 else "alder"
        request = make_request(prompt=prompt, model_name=name, seed=40 + number)
        made.append(make_review(source="txt2img", request=request, position=0))
    return made


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of four images, and two are many."""
    monkeypatch.setattr(plan, "WINDOW", 4)
    monkeypatch.setattr(conditions, "RARE", 1)
    monkeypatch.setattr(conditions, "INTERSECTION_COST_MAX", 5)


@pytest.fixture
def client(client_of: As, moderator: Any) -> Client:
    return client_of(moderator)


def ids(*reviews: Review) -> list[int]:
    return [review.asset_id for review in reviews]


# --- Which way ---


def test_a_rare_condition_finds_what_lies_beyond_the_window(
    reviews: list[Review], small: None
) -> None:
    oldest, second = reviews[0], reviews[1]
    Review.objects.filter(pk=oldest.pk).update(status="escalated")
    label(oldest, "alcohol.use")
    NamedCategory.objects.create(category="gambling", asset_id=oldest.asset_id)
    rare: dict[Condition, Review] = {
        Words(parse("dawn").terms): oldest,
        Words(parse("harbour daw*").terms): oldest,
        Words(parse('"at dawn"').terms): oldest,
        Words(parse("dawn -night").terms): oldest,
        Model(("birch",)): second,
        Seed(40): oldest,
        Decided(("gambling",)): oldest,
        AnyOf((Seed(40), Words(parse("nothing").terms))): oldest,
        Named((oldest.asset_id,)): oldest,
    }

    for condition, review in rare.items():
        assert plan.find_matches([condition], span=ALL, limit=9) == plan.SearchMatches(
            ids(review)
        ), condition
    for slug in ("alcohol", "alcohol.use"):
        assert plan.find_matches([Columns(found=slug)], span=ALL, limit=9) == plan.SearchMatches(
            ids(oldest)
        ), slug
    for values in ({"status": "escalated"}, {"status": "escalated", "source": "txt2img"}):
        assert plan.find_matches([Columns(values)], span=ALL, limit=9) == plan.SearchMatches(
            ids(oldest)
        ), values


def test_a_common_condition_is_walked_to_the_end_of_the_window(
    reviews: list[Review], small: None
) -> None:
    newest = list(reversed(reviews))

    for condition in (
        Words(parse("night").terms),
        Model(("alder",)),
        Columns({"status": "pending"}),
    ):
        assert plan.find_matches([condition], span=ALL, limit=2) == plan.SearchMatches(
            ids(*newest[:3])
        ), condition
        ended = plan.find_matches([condition], span=ALL, limit=9)
        assert ended == plan.SearchMatches(
            ids(*newest[:5]), newest[4].asset_id, newest[4].created_at
        ), condition


def test_a_rare_condition_is_narrowed_by_common_ones(reviews: list[Review], small: None) -> None:
    dawn = Words(parse("dawn").terms)

    assert plan.find_matches([Columns({"status": "pending"}), dawn], span=ALL, limit=9).ids == ids(
        reviews[0]
    )
    assert plan.find_matches(
        [Columns({"status": "approved"}), dawn], span=ALL, limit=9
    ) == plan.SearchMatches([])
    assert plan.find_matches(
        [dawn, Model(("alder",)), Words(parse("-dawn").terms)], span=ALL, limit=9
    ) == plan.SearchMatches([])


def test_words_are_weighed_before_the_index_is_asked(reviews: list[Review], small: None) -> None:
    """Each of them is in many images, and only together they are in none: crossing two long lists
    is not tried.
    """
    with CaptureQueriesContext(connection) as queries:
        assert Words(parse("harbour night").terms).ids(ALL) is None
        assert Words(parse("-dawn").terms).ids(ALL) is None
        assert Words(parse("h*").terms).ids(ALL) is None

    assert len(queries) == 3  # the sample, once
    assert sample.get_sample().how_many([" dawn "]) == 1
    assert sample.get_sample().how_many([" harbour "]) == 10


def test_a_window_that_ends_says_so_and_leads_on(
    reviews: list[Review], client: Client, small: None
) -> None:
    response = look(client, "-harbour", status="pending")

    assert found(response) == []
    assert "Nothing yet. 4 images were searched, back to " in text_of(response)
    address = response.context["page"].further
    pages = 0
    while "Search further back" in text_of(response):
        response = client.get(f"/search/?{response.context['page'].further}")
        pages += 1
    assert address == f"q=-harbour&status=pending&before={reviews[5].asset_id}"
    assert pages == 2
    assert "Nothing older matches" in text_of(response)


def test_windows_leave_nothing_out(reviews: list[Review], client: Client, small: None) -> None:
    wanted = [reviews[index] for index in (8, 5, 4, 1, 0)]
    Review.objects.filter(pk__in=[review.pk for review in wanted]).update(provider="elsewhere")
    ProviderState.objects.create(slug="elsewhere")
    seen, address = [], "/search/?q=harbour+-sphinx&provider=elsewhere"
    while address:
        response = client.get(address)
        seen += found(response)
        further = response.context["page"].further
        address = f"/search/?{further}" if further else ""

    assert seen == short(*wanted)


def test_narrowing_goes_through_its_ids_piece_by_piece(
    reviews: list[Review], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "FIRST_PIECE", 2)
    newest = ids(*reversed(reviews))

    assert plan.filter_ids(newest, [Words(parse("dawn").terms)], limit=3) == ids(reviews[0])
    assert plan.filter_ids(newest, [Words(parse("night").terms)], limit=3) == newest[:3]


def test_names_of_models_are_read_from_one_to_the_next(reviews: list[Review]) -> None:
    assert known.list_models() == ["alder", "birch"]


# --- What looks alike ---


def test_the_newest_of_a_crowded_band_are_compared_and_those_first_that_share_most(
    make_review: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviews = [make_review() for _ in range(4)]
    crowd, near = reviews[1:], reviews[0].asset
    pdq = bytes(near.pdq)
    for review in crowd:  # one band like the first image's, the rest far away
        other = bytes(255 - byte for byte in pdq[:-2]) + pdq[-2:]
        Asset.objects.filter(pk=review.asset_id).update(pdq=other)
        review.asset.bands.all().delete()
        review.asset.refresh_from_db()
        HashBand.store(review.asset)
    monkeypatch.setattr(
        image_search, "_SHARING", image_search._SHARING.replace("LIMIT 2000", "LIMIT 1")
    )

    assert image_search.find_nearest(pdq) == [(near.pk, 0)]
    assert image_search.find_nearest(bytes(crowd[0].asset.pdq), limit=9)[0][1] == 0


# --- What the database does (SQLite) ---


def steps(rows: Any) -> str:
    sql, params = rows.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        return "\n".join(row[3] for row in cursor.fetchall())


def captured_steps(act: Callable[[], object]) -> list[str]:
    """The plan of every query that this makes."""
    with CaptureQueriesContext(connection) as queries:
        act()
    made = []
    for query in queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql'].replace('%', '%%')}")
            made.append("\n".join(row[3] for row in cursor.fetchall()))
    return made


@sqlite_only
@pytest.mark.parametrize(
    "condition",
    [
        Words(parse('harbour -night "red dress" sun*').terms),
        Model(["alder"]),
        Seed(7),
        Requester([1], [1]),
        Decided(["gambling"]),
        Columns({"status": "pending"}, found="alcohol"),
        Columns(found="alcohol.use"),
        AnyOf([Seed(7), Words(parse("x").terms), Named([1, 2])]),
    ],
)
def test_a_walk_goes_down_the_ids_and_looks_other_rows_up(db: None, condition: Condition) -> None:
    walked = steps(plan._walk([condition], Span(5, 900)))

    assert walked.startswith("SEARCH moderation_review USING"), walked
    assert "(asset_id>? AND asset_id<?)" in walked.splitlines()[0], walked
    assert "SCAN" not in walked.replace("SCAN json_each", ""), walked
    assert "TEMP B-TREE" not in walked, walked


@sqlite_only
def test_the_floor_of_a_window_is_read_from_the_index_alone(db: None) -> None:
    walked = captured_steps(lambda: plan._find_floor(Span(5, 900)))[0]

    assert "COVERING INDEX" in walked, walked
    assert "SCAN" not in walked, walked


@sqlite_only
@pytest.mark.parametrize(
    ("condition", "indexes"),
    [
        (Model(["alder"]), ["request_model"]),
        (Seed(7), ["asset_seed", "request_seed"]),
        (Decided(["gambling"]), ["sqlite_autoindex_moderation_namedcategory"]),
        (Columns(found="alcohol"), ["label_category"]),
        (Columns({"status": "approved"}, found="alcohol.use"), ["label_category"]),
        (Columns({"source": "upload"}), ["review_source_lower"]),
        (Columns({"provider": "novita"}), ["review_provider_lower"]),
        (Columns({"status": "rejected"}), ["review_decided"]),
        (Columns({"status": "pending"}), ["COVERING INDEX review_"]),
        (Columns({"status": "pending"}, found="alcohol"), ["review_found_64"]),
        (Requester([1], [1]), ["requested_by_id", "api_key_id", "stored_by_id"]),
    ],
)
def test_rare_conditions_have_an_index_each(
    db: None, condition: Condition, indexes: Sequence[str]
) -> None:
    made = captured_steps(lambda: condition.ids(ALL))

    for index in indexes:
        assert any(index in steps for steps in made), (index, made)
    assert not [
        steps for steps in made if "SCAN generation_" in steps or "SCAN moderation_" in steps
    ], made


@sqlite_only
def test_ids_hashes_words_and_bands_are_looked_up(db: None) -> None:
    uuid = parse("3f2a9c1e").id_range
    assert uuid is not None
    for act in (
        lambda: page._find_by_id(Q(uuid=uuid[0])),
        lambda: page._find_by_id(Q(uuid__range=uuid)),
        lambda: page._find_same("a" * 64),
        lambda: image_search.find_nearest(bytes(32), within=image_search.WIDE),
        known._read_models,
    ):
        for made in captured_steps(act):
            assert "SCAN generation_" not in made
            assert "SCAN moderation_" not in made
    with connection.cursor() as cursor:
        sql = image_search._SQLITE[0]
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", ['"a"', 0, 9, 5])
        made = "\n".join(row[3] for row in cursor.fetchall())
    assert "VIRTUAL TABLE INDEX" in made
    assert "TEMP B-TREE" not in made


@pytest.mark.skipif(connection.vendor != "postgresql", reason="reads PostgreSQL's plans")
def test_postgresql_asks_its_index_over_words(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            f"EXPLAIN (FORMAT JSON) {image_search._POSTGRESQL[0]}", ["'a' & 'b':*", 0, 9, 5]
        )
        made = json.dumps(cursor.fetchone())
    assert "generation_assettext_words" in made


def test_the_text_index_follows_its_table(make_review: Make) -> None:
    review = make_review(original_name="sphinx.png")

    def with_sphinx() -> list[int]:
        return AssetText.with_words(["sphinx"], [], since=0, before=SEED_MAX, limit=5)

    assert with_sphinx() == [review.asset_id]
    AssetText.objects.filter(pk=review.asset_id).update(text="griffin")
    assert with_sphinx() == []
    assert AssetText.with_words(["griffin"], [], since=0, before=SEED_MAX, limit=5) == [
        review.asset_id
    ]
    AssetText.objects.all().delete()
    assert AssetText.with_words(["griffin"], [], since=0, before=SEED_MAX, limit=5) == []
