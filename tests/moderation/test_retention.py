"""Retention rules, erasures and legal holds: what goes, what stays, and who says so."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.storage import storages
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from generation.core.storage import PURGES, get_asset_storage
from generation.models import Asset, AssetText, GenerationRequest, HashBand, JobSlot
from generation.services import purging
from generation.services.file_checks import verify_files
from moderation import tasks
from moderation.models import (
    Classification,
    Decision,
    Embedding,
    Erasure,
    GoldenImage,
    Label,
    LegalHold,
    LegalHoldLift,
    RetentionEvent,
    RetentionRule,
    Review,
    Verdict,
)
from moderation.services import decisions, golden_images, legal_holds, originals, retention
from moderation.services.verification import verify_record
from tests.conftest import picture
from tests.generation.imaging.test_original import FILES
from tests.moderation.page_helpers import ClientOf, store_classification_summary
from tests.stored import empty_storage, list_stored, read_stored

pytestmark = pytest.mark.django_db
MakeReview = Callable[..., Review]


@pytest.fixture(autouse=True)
def _empty_storage() -> None:
    empty_storage()


def age(review: Review, days: int, status: str = Review.Status.REJECTED) -> None:
    """Make a review decided, or undecided, that many days ago."""
    at = timezone.now() - timedelta(days=days)
    decided = at if status in Review.DECIDED else None
    Review.objects.filter(pk=review.pk).update(status=status, decided_at=decided, created_at=at)


def run() -> None:
    JobSlot.objects.update(running_until=None)
    tasks.clean_up()


def make_rule(**fields: Any) -> RetentionRule:
    """Store a rule that is on and due now."""
    values = {"name": "old ones", "days": 30, "is_on": True, "due_at": timezone.now(), **fields}
    return RetentionRule.objects.create(**values)


def gone(review: Review) -> Asset:
    asset = Asset.objects.get(pk=review.asset_id)
    assert asset.is_purged
    return asset


def stays(review: Review) -> Asset:
    asset = Asset.objects.get(pk=review.asset_id)
    assert not asset.is_purged
    assert storages["assets"].exists(str(asset.rendition.name))
    return asset


# --- Rules ---
def test_new_rule_is_off_and_shows_what_it_would_remove(
    client_of: ClientOf, lead: User, make_review: MakeReview
) -> None:
    old, held = make_review(), make_review()
    age(old, 40), age(held, 40), age(make_review(), 5)
    legal_holds.place_on_images(assets=[held.asset_id], about="one", reason="case 1", user=lead)
    client = client_of(lead)

    answer = client.post(
        "/retention/new/", {"name": "After 30 days", "days": 30, "status": "decided"}
    )
    page = client.get(answer.url).content.decode()

    rule = RetentionRule.objects.get()
    assert (answer.status_code, rule.is_on, rule.due_at) == (303, False, None)
    assert '<span class="value">1 <small>image</small>' in page
    assert '<span class="value">1 <small>kept</small>' in page
    run()
    stays(old)


def test_rule_removes_files_and_keeps_record_with_hash(
    client_of: ClientOf, lead: User, make_review: MakeReview
) -> None:
    review = make_review(content=FILES["png-alpha"]())
    asset = review.asset
    Embedding.objects.create(
        asset=asset, encoder_version="v", vector=b"\0\0", finished_at=timezone.now()
    )
    decisions_before = Decision.objects.count()
    age(review, 31)
    rule = make_rule(is_on=False, due_at=None)
    assert list_stored()

    client_of(lead).post(f"/retention/{rule.uuid}/switch/", {"on": "1"})
    run()

    row = gone(review)
    assert list_stored() == []
    assert (row.sha256, row.original_sha256, row.width) == (
        asset.sha256,
        asset.original_sha256,
        asset.width,
    )
    assert "old ones" in row.purge_reason
    assert (row.rendition.name, row.thumbnail.name, row.original.name, row.views) == (
        "",
        "",
        "",
        [],
    )
    assert row.original_problem == "purged"
    assert HashBand.objects.filter(asset=row).exists() == bool(row.pdq and row.pdq_quality >= 50)
    assert not Embedding.objects.exists()
    assert Decision.objects.count() == decisions_before
    rule.refresh_from_db()
    assert (rule.purged, rule.error) == (1, "")
    assert rule.due_at is not None
    assert rule.due_at > timezone.now()
    assert [event.person_name for event in RetentionEvent.objects.all()] == ["lead"]
    assert verify_files().missing == []


def test_file_that_another_image_needs_stays(make_review: MakeReview) -> None:
    content = picture(901)
    first = make_review(content=content, source="api", external_id="a")
    second = make_review(content=content, source="api", external_id="b")
    assert first.asset.sha256 == second.asset.sha256
    age(first, 31), age(second, 5)
    make_rule()

    run()

    gone(first)
    stays(second)
    assert verify_files().missing == []
    age(second, 31)
    RetentionRule.objects.update(due_at=timezone.now())
    run()
    assert list_stored() == []


def test_image_that_is_stored_during_a_removal_keeps_its_files(
    make_review: MakeReview, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = picture(902)
    first = make_review(content=content, source="api", external_id="a")
    age(first, 31)
    make_rule()
    files = storages["assets"]
    delete = type(files).delete
    stored: list[Review] = []

    def store_then_delete(self: Any, name: str) -> None:
        if not stored:
            stored.append(make_review(content=content, source="api", external_id="b"))
        delete(self, name)

    monkeypatch.setattr(type(files), "delete", store_then_delete)
    run()

    gone(first)
    stays(stored[0])
    assert verify_files().missing == []


def test_rule_for_decided_images_never_removes_undecided_ones(make_review: MakeReview) -> None:
    waiting, escalated = make_review(), make_review()
    age(waiting, 400, Review.Status.PENDING), age(escalated, 400, Review.Status.ESCALATED)
    make_rule()

    run()

    stays(waiting), stays(escalated)


def test_rule_for_undecided_images_rejects_them_and_says_why(make_review: MakeReview) -> None:
    reviews = [make_review() for _ in range(3)]
    states = (Review.Status.PENDING, Review.Status.ESCALATED, Review.Status.CLASSIFYING)
    for review, status in zip(reviews, states, strict=True):
        age(review, 31, status)
    Classification.objects.create(asset=reviews[2].asset, classifier="nudenet", version="1")
    make_rule(status="undecided")

    run()

    for review in reviews:
        gone(review)
        review.refresh_from_db()
        assert review.status == Review.Status.REJECTED
        decision = Decision.objects.get(review=review)
        assert (decision.verdict, decision.by_policy) == ("reject", True)
        assert "Removed undecided" in decision.note
    assert not Classification.objects.filter(status="queued").exists()
    _, faults = verify_record()
    assert faults == []


def test_classifiers_words_go_with_the_texts_and_what_they_found_stays(
    make_review: MakeReview,
) -> None:
    review, other = make_review(), make_review()
    age(review, 31), age(other, 31)
    raw = {"level": 3, "answer": "a letter to Jane Roe", "note": "Jane Roe, unsure"}
    earlier = {"status": "done", "raw": {**raw, "matches": []}}
    for asset in (review.asset, other.asset):
        run_of = Classification.objects.create(
            asset=asset,
            classifier="vision",
            version="1",
            status="done",
            score=60,
            raw={**raw, "details": {"alcohol": ["Jane Roe's bottle"]}, "earlier": [earlier]},
        )
        Label.objects.create(classification=run_of, category="alcohol", confidence=60)
        store_classification_summary(asset.review)
    make_rule()
    run()
    texts = {asset: read_words(asset) for asset in (review.asset, other.asset)}
    assert all("Jane Roe" in text for text in texts.values())  # the rule does not name texts

    Asset.objects.filter(pk=review.asset_id).update(purged_at=None)
    RetentionRule.objects.update(due_at=timezone.now(), purges_texts=True)
    run()

    assert "Jane Roe" not in read_words(review.asset)
    assert read_words(other.asset) == texts[other.asset]
    kept = Classification.objects.get(asset=review.asset)
    neutral = {"level": 3, "note": retention.NOTE_REMOVED}
    assert kept.raw == {
        **neutral,
        "earlier": [{"status": "done", "raw": {**neutral, "matches": []}}],
    }
    assert (kept.score, kept.labels.get().confidence) == (Decimal(60), Decimal(60))


def test_removed_words_are_no_change_of_the_evidence(
    make_review: MakeReview, moderator: User
) -> None:
    review = make_review()
    run_of = Classification.objects.create(
        asset=review.asset,
        classifier="vision",
        version="1",
        status="done",
        finished_at=timezone.now(),
        raw={"details": {"alcohol": ["Jane Roe's bottle"]}},
    )
    Label.objects.create(classification=run_of, category="alcohol", confidence=60)
    store_classification_summary(review)
    decisions.claim(review=review, user=moderator)
    decisions.decide(review=review, user=moderator, verdict=Verdict.REJECT, categories=["gambling"])
    Review.objects.update(decided_at=timezone.now() - timedelta(days=31))
    make_rule(purges_texts=True)

    run()

    gone(review)
    assert "Jane Roe" not in read_words(review.asset)
    assert verify_record()[1] == []
    Label.objects.update(confidence=1)
    assert "were changed after its decision" in verify_record()[1][0]


def read_words(asset: Asset) -> str:
    """Return all that classifiers have said about an image, as it is stored."""
    runs = asset.classifications.values_list("raw", flat=True)
    summary = Review.objects.values_list("classification_summary", flat=True).get(asset=asset)
    return json.dumps([*runs, summary])


@pytest.mark.parametrize(
    ("field", "value"), [("source", "api"), ("end_user", "u-17"), ("status", "approved")]
)
def test_rule_removes_only_what_it_names(make_review: MakeReview, field: str, value: str) -> None:
    match = make_review(source="api", external_id="a", end_user="u-17")
    other = make_review(source="upload")
    age(match, 31, Review.Status.APPROVED), age(other, 31)
    make_rule(**{field: value})

    run()

    gone(match), stays(other)


def test_texts_and_hashes_go_only_if_the_rule_says_so(
    make_review: MakeReview, make_request: Callable[..., GenerationRequest]
) -> None:
    kept = make_request(prompt="a secret castle", status="succeeded", finished_at=timezone.now())
    purged = make_request(prompt="a secret bridge", status="succeeded", finished_at=timezone.now())
    first = make_review(source="txt2img", request=kept, position=0)
    second = make_review(source="txt2img", request=purged, position=0)
    sibling = make_review(source="txt2img", request=purged, position=1)
    age(first, 31), age(second, 31), age(sibling, 2)
    make_rule()
    run()
    assert AssetText.objects.filter(asset=first.asset).exists()
    assert Asset.objects.get(pk=first.asset_id).pdq == first.asset.pdq

    second.asset.refresh_from_db()
    Asset.objects.filter(pk=second.asset_id).update(purged_at=None)
    RetentionRule.objects.update(due_at=timezone.now(), purges_texts=True, purges_hashes=True)
    run()

    purged.refresh_from_db()
    assert purged.prompt == "a secret bridge"  # one of its images is kept
    assert not AssetText.objects.filter(asset=second.asset).exists()
    assert Asset.objects.get(pk=second.asset_id).pdq is None
    age(sibling, 31)
    RetentionRule.objects.update(due_at=timezone.now())
    run()
    purged.refresh_from_db()
    kept.refresh_from_db()
    assert (purged.prompt, kept.prompt) == ("", "a secret castle")


def test_claimed_golden_and_calibrated_images_wait(
    make_review: MakeReview, moderator: User, lead: User
) -> None:
    claimed, golden = make_review(), make_review()
    age(claimed, 31), age(golden, 31)
    Review.objects.filter(pk=claimed.pk).update(
        claimed_by=moderator, claimed_until=timezone.now() + timedelta(minutes=5)
    )
    GoldenImage.objects.create(review=golden, verdict="reject", marked_by=lead)
    rule = make_rule()

    run()

    stays(claimed), stays(golden)
    assert retention.preview(rule).in_use == 1


def test_switching_off_stops_a_rule(
    client_of: ClientOf, lead: User, make_review: MakeReview
) -> None:
    review = make_review()
    age(review, 31)
    rule = make_rule()

    client_of(lead).post(f"/retention/{rule.uuid}/switch/", {"on": "0"})
    run()

    stays(review)
    rule.refresh_from_db()
    assert (rule.is_on, rule.due_at) == (False, None)


def test_storage_fault_delays_a_rule_and_loses_nothing(
    make_review: MakeReview, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = make_review()
    age(review, 31)
    rule = make_rule()

    def refuse(self: Any, name: str) -> None:
        raise OSError(5, "input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(type(storages["assets"]), "delete", refuse)
        run()
    rule.refresh_from_db()
    assert "input/output error" in rule.error
    assert purging.count_unfinished() == 1  # a tombstone whose files are still there

    RetentionRule.objects.update(due_at=timezone.now())
    run()

    gone(review)
    assert list_stored() == []
    assert purging.count_unfinished() == 0


# --- Legal hold ---
def test_hold_wins_over_rule_erasure_and_originals(
    make_review: MakeReview, lead: User, settings: Any
) -> None:
    review = make_review(
        source="api", external_id="a", end_user="u-1", content=FILES["png-alpha"]()
    )
    age(review, 400)
    legal_holds.place_on_end_user(end_user="u-1", reason="case 7", user=lead)
    make_rule()
    settings.ORIGINALS = timedelta(hours=1)

    run()
    retention.order_erasure(end_user="u-1", reason="a letter", user=lead)
    run()
    originals.remove_due_originals(100)

    asset = stays(review)
    assert storages["assets"].exists(str(asset.original.name))
    erasure = Erasure.objects.get()
    assert (erasure.status, erasure.held) == ("running", 1)
    legal_holds.lift(hold=LegalHold.objects.get(), reason="closed", user=lead)
    Erasure.objects.update(due_at=timezone.now())
    run()
    gone(review)
    erasure.refresh_from_db()
    assert (erasure.status, erasure.end_user, erasure.images) == ("finished", "", 1)


def test_late_worker_leaves_an_erasure_to_the_one_that_took_it_over(
    make_review: MakeReview, lead: User
) -> None:
    review = make_review(source="api", external_id="a", end_user="u-1")
    retention.order_erasure(end_user="u-1", reason="a letter", user=lead)
    (late,) = Erasure.objects.claim(limit=1, lease=timedelta(0))
    (present,) = Erasure.objects.claim(limit=1, lease=timedelta(minutes=5))

    assert not retention.run_erasure(late, go_on=lambda: True)
    stays(review)
    assert retention.run_erasure(present, go_on=lambda: True)

    gone(review)
    assert (present.status, present.images) == ("finished", 1)
    assert not retention.run_erasure(late, go_on=lambda: True)


def test_hold_covers_images_of_a_request_that_arrive_later(
    make_review: MakeReview, make_request: Callable[..., GenerationRequest], lead: User
) -> None:
    item = make_request()
    legal_holds.place_on_request(request=item, reason="case 7", user=lead)
    review = make_review(source="txt2img", request=item, position=0)
    age(review, 400)
    make_rule()

    run()

    stays(review)


def test_dossier_shows_hold_with_person_and_reason_and_lifts_it(
    client_of: ClientOf, lead: User, make_review: MakeReview
) -> None:
    review = make_review()
    url = f"/assets/{review.asset.uuid}/"
    client = client_of(lead)

    client.post(f"{url}hold/", {"reason": "case 12 of the <court>"})
    page = client.get(url).content.decode()

    assert "case 12 of the &lt;court&gt;" in page
    assert "On hold" in page
    hold = LegalHold.objects.get()
    client.post(f"/holds/{hold.uuid}/lift/", {"reason": "closed", "back": url})
    assert "Lifted" in client.get(url).content.decode()
    assert LegalHoldLift.objects.get().lifted_by_name == "lead"
    document = json.loads(client.get(f"/assets/{review.asset.uuid}.json").content)
    assert document["legal_holds"][0]["placed_by"] == "lead"


def test_hold_without_reason_is_refused(
    client_of: ClientOf, lead: User, make_review: MakeReview
) -> None:
    review = make_review()
    client = client_of(lead)

    client.post(f"/assets/{review.asset.uuid}/hold/", {"reason": " "})
    answer = client.post("/holds/", {"target": "u-1", "reason": ""})

    assert answer.status_code == 422
    assert not LegalHold.objects.exists()


def test_search_result_is_held_and_found_by_filter(
    client_of: ClientOf, lead: User, make_review: MakeReview
) -> None:
    for number in range(3):
        make_review(source="api", external_id=str(number), end_user="u-9")
    other = make_review()
    client = client_of(lead)

    preview = client.get("/holds/new/?end_user=u-9").content.decode()
    client.post("/holds/new/", {"search": "end_user=u-9", "reason": "case 3"})
    found = client.get("/search/?kept=held").content.decode()

    assert "Hold 3 images" in preview
    assert "Hold 0 images" not in client.get("/holds/new/?end_user=u-8").text
    assert legal_holds.is_on_hold(Asset.objects.filter(end_user="u-9")[0])
    assert not legal_holds.is_on_hold(other.asset)
    assert found.count(' class="result') >= 3 or '<span class="num faint">3</span>' in found


def test_csv_has_hold_end_user_and_removal(
    client_of: ClientOf, lead: User, make_review: MakeReview
) -> None:
    held = make_review(source="api", external_id="a", end_user="u-1")
    removed = make_review(source="api", external_id="b", end_user="u-2")
    legal_holds.place_on_end_user(end_user="u-1", reason="case 7", user=lead)
    age(removed, 31)
    make_rule(source="api")
    run()

    text = b"".join(client_of(lead).get("/exports/images.jsonl").streaming_content).decode()

    rows = {row["asset"]: row for row in map(json.loads, text.splitlines())}
    assert rows[str(held.asset.uuid)]["legal_hold"] is True
    assert rows[str(held.asset.uuid)]["end_user"] == "u-1"
    row = rows[str(removed.asset.uuid)]
    assert (row["legal_hold"], "old ones" in row["removal_reason"]) == (False, True)
    assert row["removed_at"]


@pytest.mark.parametrize("table", ["legalhold", "heldimage", "legalholdlift", "retentionevent"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_history_of_holds_refuses_changes(
    table: str, statement: str, make_review: MakeReview, lead: User
) -> None:
    review = make_review()
    placed = legal_holds.place_on_images(
        assets=[review.asset_id], about="one", reason="case 1", user=lead
    )
    legal_holds.lift(hold=placed.hold, reason="closed", user=lead)
    RetentionEvent.objects.create(name="rule", action="added")

    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement.format(f"moderation_{table}"))


# --- A removed image elsewhere ---
def remove(review: Review) -> Asset:
    age(review, 31, Review.Status.APPROVED)
    make_rule()
    run()
    return gone(review)


def test_removed_image_is_a_drawing_in_pages_and_a_page_in_a_browser(
    client_of: ClientOf, lead: User, make_review: MakeReview
) -> None:
    asset = remove(make_review())
    client = client_of(lead)

    drawing = client.get(asset.thumbnail_url, headers={"Sec-Fetch-Dest": "image"})
    page = client.get(asset.file_url)
    dossier = client.get(f"/assets/{asset.uuid}/")

    assert (drawing.status_code, drawing["Content-Type"]) == (410, "image/svg+xml")
    assert page.status_code == 410
    assert "old ones" in page.content.decode()
    assert "were removed for good" in dossier.content.decode()
    assert client.get("/search/?kept=removed").content.decode().count(asset.short_id) > 0


def test_decision_on_a_removed_image_cannot_be_reversed(
    make_review: MakeReview, moderator: User
) -> None:
    review = make_review()
    decisions.claim(review=review, user=moderator)
    decision = decisions.decide(review=review, user=moderator, verdict="approve")
    remove(review)

    with pytest.raises(decisions.ConflictError, match="removed"):
        decisions.reverse(decision=decision, user=moderator)


def test_removed_image_cannot_be_golden_or_reclassified(
    make_review: MakeReview, lead: User, client_of: ClientOf
) -> None:
    review = make_review()
    remove(review)
    Review.objects.update(decided_by=lead)
    review.refresh_from_db()

    assert golden_images.explain_refusal(review, lead) == golden_images.REMOVED
    answer = client_of(lead).get(f"/reclassifications/new/?scope=images&asset={review.asset.uuid}")
    assert answer.status_code == 422
    assert "were removed" in answer.content.decode()


# --- Erasure ---
def test_erasure_counts_first_and_then_removes_images_and_texts(
    client_of: ClientOf,
    lead: User,
    make_review: MakeReview,
    make_request: Callable[..., GenerationRequest],
) -> None:
    done = {"status": "succeeded", "finished_at": timezone.now(), "end_user": "u-5"}
    item = make_request(prompt="my own face", **done)
    failed = make_request(prompt="my own face again", **done)
    review = make_review(source="txt2img", request=item, position=0)
    waiting = make_review(source="api", external_id="x", end_user="u-5")
    other = make_review(source="api", external_id="y", end_user="u-6")
    client = client_of(lead)
    given = {"end_user": "u-5", "reason": "letter 4"}

    counted = client.post("/retention/erasures/new/", given).content.decode()
    assert '<span class="value">2 <small>images</small>' in counted
    assert not Erasure.objects.exists()
    client.post("/retention/erasures/new/", {**given, "confirmed": "1"})
    run()

    erasure = Erasure.objects.get()
    assert (erasure.status, erasure.images, erasure.end_user) == ("finished", 2, "")
    assert retention.hash_end_user("u-5") == erasure.end_user_sha256
    gone(review), gone(waiting), stays(other)
    for row in (item, failed):
        row.refresh_from_db()
        assert (row.prompt, row.end_user) == ("", "")
    assert Decision.objects.get(review=waiting).verdict == "reject"
    assert client.get("/retention/").status_code == 200


def test_erase_command_finishes_at_once(make_review: MakeReview) -> None:
    review = make_review(source="api", external_id="x", end_user="u-5")
    out = io.StringIO()

    call_command("erase", end_user="u-5", reason="letter 4", yes=True, stdout=out)

    gone(review)
    assert "1 image" in out.getvalue()


def test_purge_list_names_removed_images_and_is_replayed(
    make_review: MakeReview, tmp_path: Path
) -> None:
    review = make_review()
    asset = remove(review)
    for file in get_asset_storage().iter_files(PURGES):  # as a backup copies them
        (tmp_path / Path(file.name).name).write_bytes(read_stored(file.name))
    entries = list(purging.read_purge_list(tmp_path))
    assert [entry["asset"] for entry in entries] == [str(asset.uuid)]
    # The row of a database from before the removal.
    Asset.objects.update(
        purged_at=None, purge_reason="", thumbnail="thumbnails/aa/x", rendition="r"
    )

    assert retention.replay(entries) == 1

    again = gone(review)
    assert again.purge_reason == asset.purge_reason
    assert again.purged_at == asset.purged_at
    assert retention.replay(entries) == 0
