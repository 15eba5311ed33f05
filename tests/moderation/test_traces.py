"""Traces of looking and exporting, and their limits."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.signals import request_finished
from django.db import DatabaseError, close_old_connections, transaction
from django.utils import timezone

from moderation.models import AccessTrace, Verdict
from moderation.services import decisions, traces
from moderation.services.exports.formats import Chunk
from tests.moderation.page_helpers import ClientOf, MakeReview

Kind = AccessTrace.Kind


def read(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def end(response: Any) -> None:
    """Close a response as the server does, without closing the connection of the test."""
    request_finished.disconnect(close_old_connections)
    response.close()
    request_finished.connect(close_old_connections)


def test_image_opened_outside_of_judging_leaves_one_trace(
    make_review: MakeReview, auditor: User, client_of: ClientOf
) -> None:
    review = make_review()
    client = client_of(auditor)

    for _ in range(2):
        read(client.get(review.asset.file_url))
    assert client.get(f"/assets/{review.asset.uuid}.json").status_code == 200

    found = AccessTrace.objects.order_by("pk").values_list("kind", "person_name", "asset")
    assert list(found) == [
        ("image", "auditor", review.asset_id),
        ("evidence", "auditor", review.asset_id),
    ]


def test_image_that_a_person_holds_to_judge_leaves_no_trace(
    make_review: MakeReview, moderator: User, client_of: ClientOf
) -> None:
    review = make_review()
    decisions.claim(review=review, user=moderator)

    read(client_of(moderator).get(review.asset.file_url))

    assert not AccessTrace.objects.exists()


def test_views_beyond_the_limit_get_429_and_are_shown_to_auditors(
    make_review: MakeReview, auditor: User, client_of: ClientOf, settings: Any
) -> None:
    settings.VIEWS_PER_HOUR = 2
    client = client_of(auditor)
    urls = [make_review().asset.file_url for _ in range(4)]

    answers = [client.get(url) for url in urls]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert b"VIEWS_PER_HOUR" in answers[2].content
    assert answers[2]["Retry-After"]
    (excess,) = traces.find_excess(timezone.now() - timedelta(hours=1))
    assert (excess.person, excess.count) == ("auditor", 1)
    page = client.get("/traces/").content.decode()
    assert "A limit refused" in page
    for answer in answers[:2]:
        end(answer)


def test_export_leaves_its_filter_rows_and_hash(
    make_review: MakeReview, moderator: User, auditor: User, client_of: ClientOf
) -> None:
    for _ in range(3):
        review = make_review()
        decisions.claim(review=review, user=moderator)
        decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)
    client = client_of(auditor)

    content = read(client.get("/exports/decisions.csv?verdict=approve"))

    start, end = AccessTrace.objects.order_by("pk")
    assert start.kind == Kind.EXPORT
    assert start.details["filters"] == {"verdict": "approve"}
    assert (end.start, end.rows, end.is_complete) == (start, 3, True)
    assert end.sha256 == hashlib.sha256(content).hexdigest()
    page = client.get("/traces/?kind=export end").content.decode()
    assert end.sha256 in page


def test_interrupted_export_is_noted_as_such(auditor: User) -> None:
    start = traces.start_export(person=auditor, kind="images", file_format="csv", filters={})
    sent = traces.iter_export(start, iter([Chunk(b"head", 0), Chunk(b"row", 1)]))

    next(sent)
    sent.close()

    found = AccessTrace.objects.get(kind=Kind.EXPORT_END)
    assert (found.is_complete, found.rows) == (False, 0)


@pytest.mark.parametrize("limit", ["EXPORTS_PER_HOUR", "EXPORT_ROWS_PER_HOUR"])
def test_exports_beyond_a_limit_get_429(
    make_review: MakeReview, auditor: User, client_of: ClientOf, settings: Any, limit: str
) -> None:
    make_review()
    setattr(settings, limit, 1)
    client = client_of(auditor)

    read(client.get("/exports/images.csv"))
    refused = client.get("/exports/images.csv")

    assert refused.status_code == 429
    assert limit.encode() in refused.content


def test_traces_are_for_auditors_and_never_change(
    make_review: MakeReview, auditor: User, moderator: User, client_of: ClientOf
) -> None:
    review = make_review()
    client = client_of(auditor)
    read(client.get(review.asset.file_url))

    assert client_of(moderator).get("/traces/").status_code == 403
    dossier = client.get(f"/assets/{review.asset.uuid}/").content.decode()
    assert "saw the image unblurred" in dossier
    assert "auditor" in client.get("/traces/?person=AUDITOR").content.decode()
    assert "No traces match" in client.get("/traces/?person=somebody").content.decode()
    for change in (
        lambda: AccessTrace.objects.update(person_name="x"),
        lambda: AccessTrace.objects.all()._raw_delete("default"),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
