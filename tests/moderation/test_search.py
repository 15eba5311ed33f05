"""The search over HTTP: results, messages and permissions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from generation.models import ApiKey, Asset, GenerationRequest, Source
from moderation.models import Decision, Review
from moderation.search import page
from tests.moderation.page_helpers import (
    ClientOf,
    MakeReview,
    add_label,
    decide,
    make_claimed_review,
)
from tests.moderation.search_factories import get_search_page, list_result_ids, read_text, short_ids

pytestmark = pytest.mark.usefixtures("empty_search_cache")

Prompted = Callable[..., Review]


@pytest.fixture
def prompted(make_review: MakeReview, make_request: Callable[..., GenerationRequest]) -> Prompted:
    """Return a factory of reviews of images with a given prompt."""

    def make(prompt: str, *, image_seed: int | None = None, **fields: Any) -> Review:
        made = make_request(prompt=prompt, **fields)
        return make_review(source=Source.TXT2IMG, request=made, position=0, seed=image_seed)

    return make


@pytest.fixture
def client(client_of: ClientOf, moderator: User) -> Client:
    return client_of(moderator)


# --- Permissions ---


def test_search_needs_login_and_role(db: None, client_of: ClientOf) -> None:
    nobody = User.objects.create_user("nobody", password="x")

    assert Client().get("/search/")["Location"].startswith("/login/")
    assert client_of(nobody).get("/search/").status_code == 403
    assert client_of(nobody).post("/search/").status_code == 403
    assert b'id="bar-q"' not in client_of(nobody).get("/requests/").content


def test_auditors_and_leads_can_search(
    client_of: ClientOf, auditor: User, lead: User, prompted: Prompted
) -> None:
    review = prompted("a harbour")

    for user in (auditor, lead):
        assert list_result_ids(get_search_page(client_of(user), "harbour")) == short_ids(review)


def test_empty_search_page_shows_help(client: Client, prompted: Prompted) -> None:
    prompted("a harbour")
    response = get_search_page(client)

    assert "Search syntax" in read_text(response)
    assert list_result_ids(response) == []


def test_search_writes_nothing(client: Client, prompted: Prompted) -> None:
    prompted("a harbour")
    client.get("/")

    with CaptureQueriesContext(connection) as queries:
        get_search_page(client, "harbour")

    assert [
        q["sql"] for q in queries if not q["sql"].lstrip().upper().startswith(("SELECT", "WITH"))
    ] == []


def test_every_page_has_one_search_box(client: Client) -> None:
    page = client.get("/").content.decode()

    assert page.count('data-hotkey="/"') == 1
    assert get_search_page(client).content.decode().count('data-hotkey="/"') == 1


# --- Words ---


@pytest.mark.parametrize(
    ("q", "names"),
    [
        ("harbour", "ab"),
        ("HARBOUR dawn", "a"),
        ("dawn harbour", "a"),
        ('"harbour at dawn"', "a"),
        ('"dawn harbour"', ""),
        ("“quiet harbour”", "ab"),
        ('"quiet har', ""),  # an unclosed quote starts a phrase up to the end
        ("harbour -dawn", "b"),
        ("-dawn", "bc"),
        ('quiet -"harbour at night"', "a"),
        ("harb*", "ab"),
        ("quiet har*", "ab"),
        ('"quiet har"*', "ab"),
        ("-harb*", "c"),
        ("cafe", "c"),
        ("CAFÉ", "c"),
        ("blue-eyed", "c"),
        ("eyed blue", "c"),
        ('"eyed blue"', ""),
        ("harbour sphinx", ""),
        ("arbour", ""),
        ("ha", ""),
        ("8k", "a"),
    ],
)
def test_words_of_prompt_find_images(
    client: Client, prompted: Prompted, q: str, names: str
) -> None:
    made = {
        "a": prompted("a quiet harbour at dawn, (8K:1.2)"),
        "b": prompted("Quiet.Harbour at night"),
        "c": prompted("blue-eyed sphinx in front of a Café"),
    }

    assert list_result_ids(get_search_page(client, q)) == short_ids(
        *(made[name] for name in sorted(names, reverse=True))
    )


def test_words_of_imported_prompts_and_file_names_find_images(
    client: Client, make_review: MakeReview
) -> None:
    imported = make_review(source=Source.UPLOAD, original_name="Sphinx_at-noon.png")
    elsewhere = make_review(
        source=Source.SCENARIO,
        external_id="asset_1",
        metadata={"scenario": {"prompt": "a griffin, asleep"}},
    )

    assert list_result_ids(get_search_page(client, "sphinx noon png")) == short_ids(imported)
    assert list_result_ids(get_search_page(client, '"griffin asleep"')) == short_ids(elsewhere)


def test_found_words_are_marked_and_prompts_are_escaped(client: Client, prompted: Prompted) -> None:
    prompted("<b>quiet</b> " + "filler " * 60 + "Harbour, <script>alert(1)</script> harbours")

    content = get_search_page(client, "harbour").content.decode()

    assert "<mark>Harbour</mark>, &lt;script&gt;" in content
    assert "<mark>harbours" not in content
    assert "… " in content
    assert "<mark>harbours</mark>" in get_search_page(client, "harb*").content.decode()


def test_result_shows_status_and_category_but_no_image_file(
    client: Client, prompted: Prompted
) -> None:
    review = prompted("a harbour")
    Review.objects.filter(pk=review.pk).update(
        top_category="alcohol.use", top_category_l1="alcohol"
    )

    content = get_search_page(client, "harbour").content.decode()

    assert f'href="{review.get_absolute_url()}"' in content
    assert f'href="/assets/{review.asset.uuid}/"' in content
    assert 'data-status="pending">Awaiting a decision' in content
    assert "Alcohol Use" in content
    assert review.asset.preview in content
    assert review.asset.file_url not in content
    assert f'src="{review.asset.thumbnail_url}"' not in content


# --- Ids, hashes, numbers ---


def test_ids_of_asset_review_request_and_decision_find_image(
    client: Client,
    client_of: ClientOf,
    moderator: User,
    make_review: MakeReview,
    prompted: Prompted,
) -> None:
    prompted("another")
    review = prompted("a harbour")
    assert review.claim_for(moderator)
    decide(client, review, "approve")
    decision = Decision.objects.get()

    for row in (review, review.asset, review.asset.request, decision):
        assert list_result_ids(get_search_page(client, str(row.uuid))) == short_ids(review)
        assert list_result_ids(get_search_page(client, f" {row.uuid.hex.upper()} ")) == short_ids(
            review
        )
        assert list_result_ids(get_search_page(client, str(row.uuid)[:8])) == short_ids(review)
        assert list_result_ids(get_search_page(client, str(row.uuid)[:20])) == short_ids(review)
    assert list_result_ids(get_search_page(client, "00000000-0000-4000-8000-000000000000")) == []


def test_seed_of_image_or_request_finds_image(client: Client, prompted: Prompted) -> None:
    of_request = prompted("one", seed=12345678)
    own = prompted("two", seed=5, image_seed=12345678)
    as_word = prompted("number 12345678 on a ship")
    prompted("three", seed=1234567)

    assert list_result_ids(get_search_page(client, "12345678")) == short_ids(
        as_word, own, of_request
    )
    assert list_result_ids(get_search_page(client, "", seed="12345678")) == short_ids(
        own, of_request
    )
    assert list_result_ids(get_search_page(client, "one", seed="12345678")) == short_ids(of_request)


def test_hash_of_file_or_rendition_finds_image(client: Client, make_review: MakeReview) -> None:
    review = make_review()
    make_review()

    response = get_search_page(client, review.asset.sha256)
    assert list_result_ids(response) == short_ids(review)
    assert "The same picture" in read_text(response)
    assert list_result_ids(
        get_search_page(client, review.asset.source_sha256.upper())
    ) == short_ids(review)
    assert "No identical or similar image" in read_text(get_search_page(client, "0" * 64))


# --- Filters ---


def test_filters_work_without_words(client: Client, prompted: Prompted) -> None:
    first, second = prompted("one"), prompted("two")
    Review.objects.filter(pk=first.pk).update(provider="elsewhere")
    add_label(first, "alcohol.use")

    assert list_result_ids(get_search_page(client, "", category="alcohol")) == short_ids(first)
    assert list_result_ids(get_search_page(client, "", status="pending")) == short_ids(
        second, first
    )
    assert list_result_ids(get_search_page(client, "", status="escalated")) == []
    assert list_result_ids(get_search_page(client, "two", category="alcohol")) == []
    assert list_result_ids(
        get_search_page(client, "", source="txt2img", provider="novita-sandbox")
    ) == short_ids(second)


def test_category_filter_matches_labels_of_any_classifier(
    client: Client, prompted: Prompted
) -> None:
    armed, sober, barely = prompted("one"), prompted("two"), prompted("three")
    Review.objects.filter(pk=armed.pk).update(
        top_category="violence.weapons", top_category_l1="violence"
    )
    add_label(armed, "violence.weapons", 90)
    add_label(armed, "alcohol.use", 85, classifier="another")
    add_label(sober, "alcohol", 0)
    add_label(barely, "alcohol.beverages", None)

    assert list_result_ids(get_search_page(client, "", category="violence")) == short_ids(armed)
    assert list_result_ids(get_search_page(client, "", category="alcohol")) == short_ids(
        barely, armed
    )
    assert list_result_ids(get_search_page(client, "", category="alcohol.use")) == short_ids(armed)
    assert list_result_ids(get_search_page(client, "", category="alcohol.beverages")) == short_ids(
        barely
    )
    assert list_result_ids(
        get_search_page(client, "", category="alcohol", status="pending")
    ) == short_ids(barely, armed)
    assert list_result_ids(get_search_page(client, "one", category="alcohol.use")) == short_ids(
        armed
    )
    assert (
        list_result_ids(
            get_search_page(client, "", category="alcohol.beverages", status="approved")
        )
        == []
    )


def test_named_filter_matches_categories_of_decisions(
    client: Client, moderator: User, make_review: MakeReview
) -> None:
    rejected, other = make_claimed_review(make_review, moderator), make_review()
    decide(client, rejected, "reject", categories=["alcohol.use", "gambling"])

    for named in ("alcohol.use", "alcohol", "gambling"):
        assert list_result_ids(get_search_page(client, "", named=named)) == short_ids(rejected)
    assert list_result_ids(get_search_page(client, "", named="alcohol.beverages")) == []
    assert list_result_ids(
        get_search_page(client, "", status="rejected", named="alcohol")
    ) == short_ids(rejected)
    assert list_result_ids(get_search_page(client, "", status="pending")) == short_ids(other)


def test_delivered_filter_matches_approved_images(
    client: Client, moderator: User, make_review: MakeReview
) -> None:
    blurred, sharp, rejected = (make_claimed_review(make_review, moderator) for _ in range(3))
    make_review()
    decide(client, blurred, "blur")
    decide(client, sharp, "approve")
    decide(client, rejected, "reject", categories=["gambling"])

    found = get_search_page(client, "", delivered="blurred")
    assert list_result_ids(found) == short_ids(blurred)
    assert "Approved blurred" in found.content.decode()
    assert list_result_ids(get_search_page(client, "", delivered="unblurred")) == short_ids(sharp)
    assert get_search_page(client, "", delivered="half").status_code == 422
    assert get_search_page(client, "", delivered="blurred", order="risk").status_code == 422


def test_model_filter_matches_part_of_the_name(client: Client, prompted: Prompted) -> None:
    alder, birch = (
        prompted("one", model_name="alder_v4.safetensors"),
        prompted("two", model_name="Birch XL"),
    )

    assert list_result_ids(get_search_page(client, "", model="ALDER")) == short_ids(alder)
    assert list_result_ids(get_search_page(client, "", model="Birch XL")) == short_ids(birch)
    assert list_result_ids(get_search_page(client, "", model="xl")) == short_ids(birch)
    wrong = get_search_page(client, "", model="cedar")
    assert wrong.status_code == 422
    assert "No model of any request has “cedar” in its name." in read_text(wrong)


def test_requester_filter_matches_people_keys_and_importers(
    client: Client, prompted: Prompted, make_review: MakeReview, moderator: User, senior: User
) -> None:
    key, _ = ApiKey.make(name="Shop window")
    asked = prompted("one", requested_by=moderator)
    by_key = prompted("two", api_key=key)
    brought = make_review(stored_by_id=senior.pk)

    assert list_result_ids(get_search_page(client, "", requester="Moderator")) == short_ids(asked)
    assert list_result_ids(get_search_page(client, "", requester="shop")) == short_ids(by_key)
    assert list_result_ids(get_search_page(client, "", requester="senior")) == short_ids(brought)
    wrong = get_search_page(client, "", requester="stranger")
    assert wrong.status_code == 422
    assert "begins with “stranger”" in read_text(wrong)


def test_day_filters_include_both_days(client: Client, prompted: Prompted) -> None:
    old, new = prompted("one"), prompted("two")
    long_ago = datetime(2026, 3, 5, 23, 59, 59, tzinfo=UTC)
    Asset.objects.filter(pk=old.asset_id).update(created_at=long_ago)
    Review.objects.filter(pk=old.pk).update(created_at=long_ago)

    assert list_result_ids(
        get_search_page(client, "", start="2026-03-05", end="2026-03-05")
    ) == short_ids(old)
    assert list_result_ids(get_search_page(client, "", end="2026-03-04")) == []
    assert list_result_ids(get_search_page(client, "", start="2026-03-06")) == short_ids(new)
    assert list_result_ids(get_search_page(client, "one", start="2026-03-06")) == []
    assert list_result_ids(get_search_page(client, "", start="9999-12-31", end="9999-12-31")) == []


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"status": "lost"}, "“lost” is not a status."),
        ({"category": "alcohol.wine"}, "“alcohol.wine” is not a category."),
        ({"named": "x"}, "“x” is not a category."),
        ({"source": "x"}, "“x” is not a source."),
        ({"provider": "x"}, "“x” is not a provider."),
        ({"seed": "-1"}, "A seed is a whole number"),
        ({"seed": str(2**63)}, "A seed is a whole number"),
        ({"seed": "١٢"}, "A seed is a whole number"),
        ({"start": "yesterday"}, "Write the day as year-month-day"),
        ({"start": "2026-03-05", "end": "2026-03-04"}, "This day is before the first one."),
        ({"model": "a\0b"}, "Null characters are not allowed."),
        ({"like": "x"}, "This URL names no image"),
        ({"before": "x"}, "Enter a whole number."),
        ({"before": str(2**70)}, "Ensure this value is less than or equal to"),
        ({"q": "?!"}, "Enter at least one letter or digit"),
        ({"q": "x" * 501}, "longer than 500 characters"),
        ({"q": " ".join(f"w{i}" for i in range(17))}, "more than 16 words"),
    ],
)
def test_invalid_value_returns_422_with_message(
    client: Client, prompted: Prompted, fields: dict[str, str], sentence: str
) -> None:
    prompted("one")

    response = get_search_page(client, "", **fields)

    assert response.status_code == 422
    assert sentence in read_text(response)
    assert "one" not in read_text(response).split("PNG, JPEG")[1]


def test_each_filter_has_its_own_remove_link(client: Client, prompted: Prompted) -> None:
    prompted("one")

    content = get_search_page(client, "one", status="pending", source="txt2img").content.decode()

    assert 'href="?q=one&amp;source=txt2img"' in content
    assert 'href="?q=one&amp;status=pending"' in content


# --- Pages ---


def test_pages_have_no_gaps_or_repeats(
    client: Client, prompted: Prompted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "LENGTH", 2)
    reviews = [prompted("a harbour") for _ in range(5)]
    seen, address = [], "/search/?q=harbour"
    while address:
        response = client.get(address)
        seen.append(list_result_ids(response))
        after = response.context["page"].further
        address = f"/search/?{after}" if after else ""

    assert seen == [short_ids(*reviews[4:2:-1]), short_ids(*reviews[2:0:-1]), short_ids(reviews[0])]


def test_search_stays_within_query_limit(client: Client, prompted: Prompted) -> None:
    for number in range(5):
        prompted(f"a harbour {number}")
    everything = {
        "status": "pending",
        "named": "alcohol",
        "source": "txt2img",
        "provider": "novita-sandbox",
        "model": "alder",
        "seed": "7",
        "start": "2020-01-01",
        "end": "2030-01-01",
        "requester": "moderator",
    }
    get_search_page(client, "harbour", **everything)

    for fields in ({}, {"status": "pending"}, everything):
        with CaptureQueriesContext(connection) as queries:
            get_search_page(client, "harbour", **fields)
        assert len(queries) <= (12 if fields is everything else 9), [
            q["sql"][:200] for q in queries
        ]


# --- Second opinions ---


def test_search_hides_first_decision_from_second_opinion(
    client_of: ClientOf,
    moderator: User,
    other_moderator: User,
    make_review: MakeReview,
    prompted: Prompted,
) -> None:
    review = prompted("a harbour")
    assert review.claim_for(moderator)
    decide(client_of(moderator), review, "approve")
    Review.objects.filter(pk=review.pk).update(second_opinion=Review.SecondOpinion.WANTED)
    review.refresh_from_db()
    client = client_of(other_moderator)

    before = read_text(get_search_page(client, "harbour"))
    assert review.claim_for(other_moderator)
    after = read_text(get_search_page(client, "harbour")).split("Results 1")[1]

    assert "Approved" in before.split("Results 1")[1]
    assert "Second opinion" in after
    assert "Approved" not in after
    assert (
        "Approved"
        in read_text(get_search_page(client_of(moderator), "harbour")).split("Results 1")[1]
    )


def test_rejected_image_is_listed_with_category_of_rejection(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review = make_review()
    Review.objects.update(top_category="alcohol", top_category_l1="alcohol")
    assert review.claim_for(moderator)
    client = client_of(moderator)
    decide(client, review, "reject", categories=["violence.weapons"])

    card = client.get("/search/?status=rejected").content.decode().partition('class="frame"')[2]
    assert '<span class="one-line">Weapons</span>' in card
