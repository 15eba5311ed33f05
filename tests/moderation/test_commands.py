from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone
from PIL import Image

import moderation.tasks
from generation.models import Asset, GenerationRequest, Source
from moderation import demo, taxonomy
from moderation.classifiers import nudenet
from moderation.classifiers.base import Assessment, Coverage
from moderation.classifiers.sandbox import Sandbox
from moderation.models import (
    Classification,
    CountProgress,
    Decision,
    Measure,
    PeriodCount,
    Policy,
    Review,
    Verdict,
    Verification,
)
from moderation.policy_engine import Evidence, Outcome, settle
from moderation.services import classification, decisions, demo_past, period_counts
from tests.conftest import PASSWORD, picture
from tests.moderation.record_helpers import verify_chain, without_triggers

Factory = Callable[..., Any]


def run_command(*args: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(*args, stdout=out, stderr=io.StringIO(), **options)
    return out.getvalue()


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for number, (name, kind) in enumerate(
        [("a.png", "PNG"), ("deep/b.JPG", "JPEG"), ("deep/er/c.webp", "WEBP")]
    ):
        (tmp_path / name).write_bytes(picture(number, image_format=kind))
    (tmp_path / "same-as-a.png").write_bytes(picture(0))
    (tmp_path / "torn.png").write_bytes(picture(4)[:200])
    (tmp_path / "page.png").write_text("<html><script>alert(1)</script></html>")
    (tmp_path / "notes.txt").write_text("not an image, and not asked for")
    return tmp_path


def test_import_images_stores_valid_images_and_lists_refused_files(
    db: None, image_folder: Path, settings: Any
) -> None:
    settings.CLASSIFIERS = []

    summary = run_command("import_images", str(image_folder))

    assert summary.startswith(
        "3 images stored and queued for classification, 1 already known, 2 refused."
    )
    assert "torn.png:" in summary
    assert "page.png:" in summary
    assert "1 other files were skipped" in summary
    assets = Asset.objects.order_by("original_name")
    assert [(a.original_name, a.source) for a in assets] == [
        (n, Source.UPLOAD) for n in ("a.png", "b.JPG", "c.webp")
    ]
    assert all(review.status == Review.Status.PENDING for review in Review.objects.all())


def test_repeated_import_stores_nothing(db: None, image_folder: Path) -> None:
    run_command("import_images", str(image_folder))

    assert run_command("import_images", str(image_folder)).startswith(
        "0 images stored and queued for classification, 4 already known"
    )
    assert Asset.objects.count() == 3


def test_import_images_names_invalid_arguments(db: None, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="There is no"):
        run_command("import_images", str(tmp_path / "missing"))
    with pytest.raises(CommandError, match=r"No file ending in"):
        run_command("import_images", str(tmp_path))
    (tmp_path / "a.png").write_bytes(picture())
    with pytest.raises(CommandError, match="no user called nobody"):
        run_command("import_images", str(tmp_path), user="nobody")


@pytest.mark.django_db(transaction=True)
def test_imported_images_are_pending_with_a_reason(image_folder: Path, settings: Any) -> None:
    # find_spec does not import the package: another test checks that it is never imported.
    if importlib.util.find_spec("nudenet") is None:
        pytest.skip("the extra `local` is not installed")
    settings.CLASSIFIERS = ["local", "novita", "sandbox"]
    run_command("import_images", str(image_folder))

    moderation.tasks.classify()

    for review in Review.objects.all():
        assert review.status == Review.Status.PENDING
        assert "Local detector" in review.reason
        assert "no classifier checked" in review.reason


def test_demo_without_debug_raises_error_and_creates_nothing(db: None, settings: Any) -> None:
    settings.DEBUG = False
    with pytest.raises(CommandError, match="DEBUG"):
        run_command("demo")
    assert not User.objects.exists()


def test_repeated_demo_creates_nothing_twice(db: None, settings: Any) -> None:
    settings.DEBUG, settings.DEMO_PASSWORD = True, PASSWORD
    first = run_command("demo")
    requests, users = GenerationRequest.objects.count(), User.objects.count()

    run_command("demo")

    assert PASSWORD in first
    assert (requests, users) == (40, 8)
    assert (GenerationRequest.objects.count(), User.objects.count()) == (requests, users)
    assert Policy.objects.active().trusted_silences == ["local"]
    assert "counts “nothing found” of the local detector" in Policy.objects.active().note
    assert Policy.objects.count() == 2
    senior = User.objects.get(username="senior")
    assert senior.check_password(PASSWORD)
    assert senior.has_perm("moderation.decide_escalated_review")
    assert not User.objects.get(username="moderator").is_staff
    # The requester of the demo images cannot decide them.
    (asked,) = User.objects.filter(pk__in=GenerationRequest.objects.values("requested_by"))
    assert not asked.has_perm("moderation.decide_review")


def test_past_of_the_demo_is_a_valid_record_that_the_jobs_count(db: None, settings: Any) -> None:
    settings.DEBUG, settings.DEMO_PASSWORD = True, PASSWORD
    began = timezone.now()
    run_command("demo", "--days", "4")
    images = Review.objects.count()
    for stream in (CountProgress.Stream.ARRIVALS, CountProgress.Stream.DECISIONS):
        CountProgress.objects.create(stream=stream, due_at=began)
        period_counts.count_batch(stream)

    record = list(Decision.objects.order_by("sequence"))
    times = [decision.created_at for decision in record]
    days = PeriodCount.objects.filter(step="day", measure=Measure.ARRIVALS)
    assert verify_chain(record) == []
    assert Verification.objects.get().faults == 0
    assert times == sorted(times)
    assert began - timedelta(days=4) < times[0] < times[-1] < began
    assert any(decision.by_policy for decision in record)
    assert any(decision.second_of_id for decision in record)
    assert images > 10
    assert not Review.objects.filter(reason__contains=demo_past.NOTE).exists()
    assert sum(row.count for row in days) == images
    assert not Classification.objects.exclude(status=Classification.Status.DONE).exists()
    assert Policy.objects.active().name == demo.POLICY_NAME

    run_command("demo", "--days", "4")
    assert Review.objects.count() == images
    assert Decision.objects.count() == len(record)


def test_random_demo_password_is_printed_once_and_kept(db: None, settings: Any) -> None:
    settings.DEBUG, settings.DEMO_PASSWORD = True, ""
    password = run_command("demo").split("password ")[1].split()[0]

    assert User.objects.get(username="moderator").check_password(password)
    assert password not in run_command("demo")
    assert User.objects.get(username="moderator").check_password(password)


def test_demo_sends_no_requests_to_real_providers(db: None, settings: Any) -> None:
    settings.DEBUG = True
    settings.IMAGE_PROVIDERS = {"novita": settings.IMAGE_PROVIDERS["novita-sandbox"]}

    assert "spends no money" in run_command("demo")
    assert not GenerationRequest.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_verify_decisions_finds_changes_made_without_triggers(
    make_review: Factory, moderator: User
) -> None:
    for _ in range(2):
        review = make_review()
        decisions.claim(review=review, user=moderator)
        decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)
    assert run_command("verify_decisions").startswith("2 decisions verified")

    last = Decision.objects.order_by("sequence").last()
    assert last is not None
    with without_triggers():
        Decision.objects.filter(pk=last.pk).update(note="forged")
    with pytest.raises(CommandError, match=f"Decision {last.sequence} was altered"):
        run_command("verify_decisions")
    with without_triggers():
        last.delete()
    with pytest.raises(CommandError, match="end of the record is missing"):
        run_command("verify_decisions")


def test_image_with_several_frames_goes_to_a_person(
    db: None, tmp_path: Path, settings: Any
) -> None:
    settings.CLASSIFIERS = []
    frames = [Image.open(io.BytesIO(picture(number))) for number in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    run_command("import_images", str(tmp_path))

    review = Review.objects.get()
    assert (review.status, review.risk) == (Review.Status.PENDING, 100)
    assert "it has 3 frames, and only the first was kept" in review.reason


def test_demo_policy_approves_sandbox_images_and_queues_imports(db: None, settings: Any) -> None:
    settings.DEBUG = True
    run_command("demo")
    rules = classification.build_rules(Policy.objects.active())
    sandbox = Evidence(label="Sandbox", covers={category.slug: "full" for category in taxonomy.L1})
    local = Evidence(
        label="Local detector", classifier="local", silence_counts=False, covers=nudenet.COVERS
    )

    assert settle(rules, [sandbox]).outcome is Outcome.APPROVE
    newcomers = settle(rules, [local], imported=True)

    assert newcomers.outcome is Outcome.PERSON
    assert newcomers.reason.endswith("leaves imported files to people.")


def test_imported_file_without_findings_waits_for_a_person(
    image_folder: Path,
    moderator: User,
    settings: Any,
    client_of: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.CLASSIFIERS = ["novita", "sandbox"]
    silent = Assessment(covers={category.slug: Coverage.FULL for category in taxonomy.L1})
    monkeypatch.setattr(Sandbox, "applies_to", lambda *args: True)
    monkeypatch.setattr(Sandbox, "assess", lambda *args: silent)
    run_command("import_images", str(image_folder))
    moderation.tasks.classify()

    reviews = list(Review.objects.all())

    assert reviews
    assert {review.status for review in reviews} == {Review.Status.PENDING}
    page = client_of(moderator).get("/queues/waiting/").content.decode()
    assert "No findings" in page
    with without_triggers():  # the policy was used
        Policy.objects.update(approves_imports=True)
    review = reviews[0]
    review.status = Review.Status.CLASSIFYING
    Review.objects.filter(pk=review.pk).update(status=review.status)
    classification.settle_review(review=review)
    assert Review.objects.get(pk=review.pk).status == Review.Status.APPROVED
