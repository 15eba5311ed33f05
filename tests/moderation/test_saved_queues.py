"""Filters of queues, and saved queues."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from moderation import queues
from moderation.models import Review, SavedQueue
from moderation.models.found_categories import BITS
from moderation.services import saved_queues
from moderation.services.saved_queues import SAVED_MAX
from moderation.views import queues as views
from tests.moderation.page_helpers import HTMX, ClientOf, MakeReview, add_label

DRINKS = "/queues/waiting/?category=alcohol&order=oldest"
SAVE = "/queues/waiting/saved/?category=alcohol&order=oldest"


def fetch_text(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return str(response.content.decode())


# --- Filters ---


def test_url_filters_narrow_a_queue(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    drink, weapon = make_review(), make_review()
    Review.objects.filter(pk=drink.pk).update(found=BITS["alcohol"])
    client = client_of(moderator)

    text = fetch_text(client, DRINKS)

    assert f"{drink.get_absolute_url()}?queue=waiting%3Fcategory%3Dalcohol%26order%3Doldest" in text
    assert weapon.get_absolute_url() not in text
    assert '<option value="alcohol" selected>' in text
    assert '<option value="oldest" selected>' in text
    assert (
        '<a href="/queues/waiting/?order=oldest"><span class="visually-hidden">Remove the filter:'
        " </span>Alcohol" in text
    )
    assert '<a href="/queues/waiting/?category=alcohol">' in text
    assert 'action="/queues/waiting/claims/?category=alcohol&amp;order=oldest"' in text
    assert 'action="/queues/waiting/sheet/?category=alcohol&amp;order=oldest"' in text


def test_start_claims_within_the_filters(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    make_review()
    drink = make_review()
    Review.objects.filter(pk=drink.pk).update(found=BITS["alcohol"])

    response = client_of(moderator).post("/queues/waiting/claims/?category=alcohol")

    assert response["Location"] == f"{drink.get_absolute_url()}?queue=waiting%3Fcategory%3Dalcohol"


def test_category_filter_matches_any_label_and_none_matches_no_label(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    mixed, bare = make_review(), make_review()
    Review.objects.filter(pk=mixed.pk).update(
        top_category="violence.weapons", top_category_l1="violence"
    )
    add_label(mixed, "violence.weapons", 90)
    add_label(mixed, "alcohol.use", 3, classifier="another")
    add_label(mixed, "gambling", None, classifier="a third")
    client = client_of(moderator)

    for category, shown in (
        ("alcohol", mixed),
        ("violence", mixed),
        ("gambling", mixed),
        ("none", bare),
    ):
        text = fetch_text(client, f"/queues/waiting/?category={category}")
        assert [one for one in (mixed, bare) if one.get_absolute_url() in text] == [shown], category
    assert mixed.get_absolute_url() not in fetch_text(
        client, "/queues/waiting/?category=hate-symbols"
    )


def test_empty_filters_are_removed_from_the_url(client_of: ClientOf, moderator: User) -> None:
    client = client_of(moderator)

    response = client.get("/queues/waiting/?category=&source=upload&provider=&risk=&hours=4&order=")

    assert (response.status_code, response["Location"]) == (
        302,
        "/queues/waiting/?source=upload&hours=4",
    )


@pytest.mark.parametrize(
    "query", ["category=cats", "risk=-1&hours=x", "order=random", "source=moon", "after=x"]
)
def test_invalid_filters_are_ignored(
    client_of: ClientOf, make_review: MakeReview, moderator: User, query: str
) -> None:
    review = make_review()

    assert review.get_absolute_url() in fetch_text(
        client_of(moderator), f"/queues/waiting/?{query}"
    )


def test_filter_values_outside_the_form_are_accepted(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    text = fetch_text(client_of(moderator), "/queues/waiting/?risk=63&hours=5&provider=gone")

    assert '<option value="63" selected>63 or more</option>' in text
    assert '<option value="5" selected>5 h or longer</option>' in text
    assert '<option value="gone" selected>gone</option>' in text
    assert "No images match these filters" in text


@pytest.mark.parametrize("order", ["risk", "oldest", "newest"])
def test_pages_list_a_filtered_queue_once(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    monkeypatch: pytest.MonkeyPatch,
    order: str,
) -> None:
    monkeypatch.setattr(views, "PAGE_LENGTH", 2)
    reviews = [make_review() for _ in range(5)]
    Review.objects.filter(pk__in=[one.pk for one in reviews]).update(found=BITS["alcohol"])
    for place, review in enumerate(reviews):
        Review.objects.filter(pk=review.pk).update(risk=place // 2)
    make_review()
    client, seen = client_of(moderator), []
    address: str | None = f"/queues/waiting/?category=alcohol&order={order}"

    while address:
        text = fetch_text(client, address)
        page = [one for one in reviews if one.get_absolute_url() in text]
        assert page
        seen += page
        following = text.partition('" rel="next"')[0].rpartition('href="')[2]
        address = (
            f"/queues/waiting/{following.replace('&amp;', '&')}" if 'rel="next"' in text else None
        )

    assert len(seen) == 5
    assert set(seen) == set(reviews)


def test_poll_of_empty_queue_returns_204_until_an_image_waits(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    client = client_of(moderator)
    assert f'hx-get="{DRINKS.replace("&", "&amp;")}" hx-trigger="every 20s"' in fetch_text(
        client, DRINKS
    )

    assert client.get(DRINKS, headers=HTMX).status_code == 204
    drink = make_review()
    Review.objects.filter(pk=drink.pk).update(found=BITS["alcohol"])

    assert drink.get_absolute_url() in client.get(DRINKS, headers=HTMX).content.decode()


# --- Saved queues ---


def test_queue_is_saved_listed_and_deleted(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    client = client_of(moderator)

    response = client.post(SAVE, {"name": "  Drinks   first "})
    saved = SavedQueue.objects.get()

    assert (response.status_code, response["Location"]) == (303, DRINKS)
    assert (saved.name, saved.owner, saved.is_shared) == ("Drinks first", moderator, False)
    assert "<h1><bdi>Drinks first" in fetch_text(client, DRINKS)
    listed = fetch_text(client, "/queues/")
    assert f'href="{DRINKS.replace("&", "&amp;")}"' in listed
    assert "Alcohol, Oldest first" in listed
    client.post(f"/queues/saved/{saved.uuid}/deletion/")
    assert not SavedQueue.objects.exists()
    assert "Drinks first" not in fetch_text(client, "/queues/").split("<main")[1]


def test_saved_queues_are_sorted_own_first_then_by_name(
    make_review: MakeReview, moderator: User, other_moderator: User, senior: User
) -> None:
    def save_queue(
        owner: User, name: str, query: str, base: str = "waiting", *, is_shared: bool = False
    ) -> None:
        SavedQueue.objects.create(
            owner=owner, name=name, query=query, base=base, is_shared=is_shared
        )

    save_queue(senior, "Arms", "category=violence", is_shared=True)
    save_queue(senior, "For seniors", "risk=90", "escalated", is_shared=True)
    save_queue(senior, "Gone", "risk=90", "abolished", is_shared=True)
    save_queue(senior, "Private", "risk=70")
    save_queue(moderator, "zoo", "source=upload")
    save_queue(moderator, "Wine", "category=alcohol")

    assert [queue.name for queue in queues.list_saved_queues(moderator)] == ["Wine", "zoo", "Arms"]
    assert [queue.name for queue in queues.list_saved_queues(other_moderator)] == ["Arms"]
    assert [queue.name for queue in queues.list_saved_queues(senior)] == [
        "Arms",
        "For seniors",
        "Private",
    ]
    arms = queues.list_saved_queues(moderator)[2]
    assert (arms.key, arms.get_absolute_url()) == (
        "waiting?category=violence",
        "/queues/waiting/?category=violence",
    )


def test_only_seniors_and_leads_share_saved_queues(
    client_of: ClientOf, moderator: User, senior: User, lead: User
) -> None:
    shared = {"name": "Drinks", "is_shared": "on"}
    lead.user_permissions.add(Permission.objects.get(codename="decide_review"))

    assert "is_shared" not in fetch_text(client_of(moderator), DRINKS)
    refused = client_of(moderator).post(SAVE, shared)
    assert refused.status_code == 403
    assert "Only senior moderators and policy leads" in refused.content.decode()
    for person in (senior, lead):
        assert "is_shared" in fetch_text(client_of(person), DRINKS)
        assert client_of(person).post(SAVE, shared).status_code == 303
    assert [saved.owner for saved in SavedQueue.objects.order_by("pk")] == [senior, lead]
    text = fetch_text(client_of(moderator), "/queues/")
    assert "for everybody, by <bdi>senior</bdi>" in text
    assert "Delete" not in text


def test_saved_queues_show_number_of_waiting_images(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    for count, category in ((2, "alcohol"), (1, "gambling")):
        Review.objects.filter(pk__in=[make_review().pk for _ in range(count)]).update(
            found=BITS[category]
        )
    for name in ("alcohol", "gambling", "violence"):
        SavedQueue.objects.create(
            owner=moderator, name=name, base="waiting", query=f"category={name}"
        )

    text = " ".join(fetch_text(client_of(moderator), "/queues/").split()).partition("Saved queues")[
        2
    ]

    entries = {entry.partition("</bdi>")[0]: entry for entry in text.split("<strong><bdi>")[1:4]}
    counts = {
        name: re.search(r'class="depth"><span class="num">(\d+)<', entry)
        for name, entry in entries.items()
    }
    assert {name: found and found.group(1) for name, found in counts.items()} == {
        "alcohol": "2",
        "gambling": "1",
        "violence": "0",
    }
    assert {name for name, entry in entries.items() if " disabled" in entry} == {"violence"}


def test_deleting_saved_queue_of_another_person_returns_404(
    client_of: ClientOf, moderator: User, senior: User, client: Client
) -> None:
    saved = SavedQueue.objects.create(
        owner=senior, name="Arms", base="waiting", query="risk=90", is_shared=True
    )
    address = f"/queues/saved/{saved.uuid}/deletion/"

    assert client.post(address).status_code == 302
    assert client_of(moderator).post(address).status_code == 404
    assert client_of(senior).get(address).status_code == 405
    assert SavedQueue.objects.count() == 1
    assert client_of(senior).post(address).status_code == 303


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"name": ""}, "Give the queue a name."),
        ({"name": "  "}, "Give the queue a name."),
        ({"name": "x" * 61}, "A name has at most 60 characters."),
        ({"name": "Taken"}, "You already have a saved queue named “Taken”."),
    ],
)
def test_invalid_queue_name_returns_422_with_form(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    other_moderator: User,
    data: dict[str, Any],
    sentence: str,
) -> None:
    make_review()
    SavedQueue.objects.create(owner=moderator, name="Taken", base="waiting", query="risk=90")
    SavedQueue.objects.create(owner=other_moderator, name="Free", base="waiting", query="risk=90")
    client = client_of(moderator)

    response = client.post(SAVE, data)

    text = response.content.decode()
    assert response.status_code == 422
    assert sentence in text
    assert '<details class="saving" open>' in text
    assert SavedQueue.objects.filter(owner=moderator).count() == 1
    assert client.post(SAVE, {"name": "Free"}).status_code == 303


def test_saving_more_than_the_limit_returns_422(client_of: ClientOf, moderator: User) -> None:
    SavedQueue.objects.bulk_create(
        SavedQueue(owner=moderator, name=f"Queue {n}", base="waiting", query=f"risk={n}")
        for n in range(1, SAVED_MAX + 1)
    )

    response = client_of(moderator).post(SAVE, {"name": "One more"})

    assert response.status_code == 422
    assert f"You have {SAVED_MAX} saved queues. Delete one first." in response.content.decode()


def test_saving_queue_without_filters_returns_422(client_of: ClientOf, moderator: User) -> None:
    client = client_of(moderator)

    assert "Save as" not in fetch_text(client, "/queues/waiting/")
    assert client.post("/queues/waiting/saved/", {"name": "All"}).status_code == 422
    assert not SavedQueue.objects.exists()


def test_saving_queue_without_access_returns_404(
    client_of: ClientOf, moderator: User, auditor: User
) -> None:
    assert (
        client_of(moderator).post("/queues/escalated/saved/?risk=90", {"name": "Up"}).status_code
        == 404
    )
    assert client_of(auditor).post(SAVE, {"name": "Up"}).status_code == 404
    assert saved_queues.SAVED_MAX == 30


def test_queue_pages_stay_within_query_limit(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    django_assert_max_num_queries: Any,
) -> None:
    for number in range(10):
        SavedQueue.objects.create(
            owner=moderator, name=f"Q{number}", base="waiting", query=f"risk={number}"
        )
        make_review()
    client = client_of(moderator)

    with django_assert_max_num_queries(10):
        fetch_text(client, "/queues/waiting/?source=upload")
    with django_assert_max_num_queries(14):
        fetch_text(client, "/queues/")
