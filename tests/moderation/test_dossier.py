"""The dossier of an image: its history, evidence and proof, and who may see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from generation.models import Source
from moderation.models import Classification, HashEntry, HashList, Label, Policy, Review, Verdict
from moderation.services import decisions
from moderation.services.verification import verify_record
from tests.moderation.page_helpers import ClientOf, MakeReview
from tests.moderation.record_helpers import drop_triggers

QUERIES_MAX = 32


def decide(review: Review, user: User, verdict: Verdict = Verdict.APPROVE, **words: Any) -> Any:
    decisions.claim(review=review, user=user)
    return decisions.decide(review=review, user=user, verdict=verdict, **words)


def classify(review: Review, version: str = "1") -> Classification:
    run = Classification.objects.create(
        asset=review.asset,
        classifier="sandbox",
        version=version,
        status="done",
        score=60,
        raw={"answer": "as stored"},
        finished_at=review.created_at,
    )
    Label.objects.create(classification=run, category="violence.weapons", confidence=71)
    return run


def url_of(review: Review, end: str = "/") -> str:
    return f"/assets/{review.asset.uuid}{end}"


def test_dossier_says_who_decided_what_under_which_policy_on_what_evidence(
    client_of: ClientOf,
    make_request: Callable[..., Any],
    make_review: MakeReview,
    moderator: User,
    senior: User,
    auditor: User,
) -> None:
    request = make_request(image_num=2, prompt="a harbour at dawn", requested_by=senior)
    review = make_review(source=Source.TXT2IMG, request=request, position=0)
    sibling = make_review(source=Source.TXT2IMG, request=request, position=1)
    Review.objects.filter(pk=review.pk).update(
        policy=Policy.objects.active(), reason="Sandbox found Weapons at 71."
    )
    review.refresh_from_db()
    classify(review)
    first = decide(review, moderator, Verdict.REJECT, categories=["gambling"], note="chips")
    decisions.reverse(decision=first, user=moderator)
    decide(review, moderator, Verdict.REJECT, categories=["violence.weapons"])
    verify_record()

    text = client_of(auditor).get(url_of(review)).content.decode()

    for part in (
        "Rejected for Weapons by moderator on",
        "under policy version 1",
        "a harbour at dawn",
        "&quot;answer&quot;: &quot;as stored&quot;",
        "Note: chips",
        "Sandbox found Weapons at 71.",
        f'href="/assets/{sibling.asset.uuid}/"',
        f'href="/assets/{review.asset.uuid}/file"',
        "Reversed",
        "Images of the same request",
        "no fault in the whole record",
        first.hash,
        'id="policy-1"',
    ):
        assert part in text, part


def test_json_has_the_same_content(
    client_of: ClientOf, make_review: MakeReview, moderator: User, auditor: User
) -> None:
    review = make_review()
    classify(review)
    row = decide(review, moderator, Verdict.REJECT, categories=["gambling"])

    found = client_of(auditor).get(url_of(review, ".json")).json()

    (decision,) = [event["decision"] for event in found["events"] if "decision" in event]
    assert (decision["hash"], decision["is_hash_right"], decision["is_link_right"]) == (
        row.hash,
        True,
        True,
    )
    assert found["classifications"][0]["raw"] == {"answer": "as stored"}
    assert found["headline"].startswith("Rejected for Gambling by moderator")


def test_altered_decision_is_named_on_its_dossier(
    client_of: ClientOf, make_review: MakeReview, moderator: User, auditor: User
) -> None:
    first, second = make_review(), make_review()
    row = decide(first, moderator)
    decide(second, moderator)
    drop_triggers()
    type(row).objects.filter(pk=row.pk).update(note="forged")

    text = client_of(auditor).get(url_of(first)).content.decode()

    assert "its fields do not give the stored hash" in text
    assert "Altered" not in client_of(auditor).get(url_of(second)).content.decode()


@pytest.mark.parametrize("end", ["/", ".json"])
def test_holder_of_a_second_opinion_sees_no_outcome(
    client_of: ClientOf, make_review: MakeReview, moderator: User, senior: User, end: str
) -> None:
    review = make_review()
    classify(review)
    decide(review, moderator, Verdict.REJECT, categories=["gambling"], note="chips")
    Review.objects.filter(pk=review.pk).update(second_opinion=Review.SecondOpinion.WANTED)
    client = client_of(senior)
    assert "chips" in client.get(url_of(review, end)).content.decode()
    decisions.claim(review=Review.objects.get(pk=review.pk), user=senior)

    text = client.get(url_of(review, end)).content.decode().lower()

    for word in ("chips", "rejected", "gambling", "weapons", "as stored", "unaltered"):
        assert word not in text, word


def test_entries_of_hash_lists_are_events(
    client_of: ClientOf, make_review: MakeReview, senior: User
) -> None:
    review = make_review()
    entry = HashEntry(
        hash_list=HashList.objects.create(name="exchange"),
        algorithm="sha256",
        value=bytes.fromhex(review.asset.sha256),
        added_by=senior,
    )
    entry.save()

    assert "Hash put on the list “exchange”" in (
        client_of(senior).get(url_of(review)).content.decode()
    )


def test_queries_do_not_grow_with_the_history(
    client_of: ClientOf, make_review: MakeReview, moderator: User, auditor: User
) -> None:
    review = make_review()
    client = client_of(auditor)
    counts = []
    for number in range(2):
        for version in range(1 + 4 * number):
            classify(review, f"{number}-{version}")
            decisions.reverse(decision=decide(review, moderator), user=moderator)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert client.get(url_of(review)).status_code == 200
        counts.append(len(queries))

    assert counts[0] == counts[1] <= QUERIES_MAX


def test_people_without_the_permission_get_404(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review = make_review()
    nobody = User.objects.create_user("nobody")

    assert client_of(nobody).get(url_of(review)).status_code == 404
    assert client_of(moderator).get(f"/assets/{uuid4()}/").status_code == 404
    assert client_of(moderator).get(url_of(review, ".json")).status_code == 403


def test_admin_pages_of_reviews_and_decisions_lead_to_the_dossier(
    client_of: ClientOf, make_review: MakeReview, moderator: User, auditor: User
) -> None:
    review = make_review()
    decision = decide(review, moderator)
    client = client_of(auditor)

    for page in ("review", f"review/{review.pk}/change", "decision", f"decision/{decision.pk}"):
        text = client.get(f"/admin/moderation/{page}/", follow=True).content.decode()
        assert f'href="{url_of(review)}"' in text, page
