"""Training by the worker, the steps of a head, and its files."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

import moderation.tasks
from generation import jobs
from moderation.models import Decision, Head, HeadChange, HeadTraining
from moderation.services import learning
from moderation.services.decisions import reverse
from moderation.services.learning import LearningError
from tests.moderation.learned.house import WEAPONS, House, get_head, make_head

pytestmark = pytest.mark.django_db
FEW = {"condition": "positives", "reason": "3 images with the category; 30 are needed."}
IMPRECISE = {"condition": "precision", "reason": "The precision is too low."}


def run(command: str, *args: str) -> str:
    out = StringIO()
    call_command(command, *args, stdout=out)
    return out.getvalue()


# --- From the desk to a head in use ---
def test_head_from_decisions_at_the_desk_is_rebuilt_and_put_into_use(
    house: House, senior: User, lead: User, tmp_path: Path
) -> None:
    house.decide_many()
    house.learn()
    head = get_head()
    assert (head.images, head.positives, head.gate) == (66, 32, "")
    assert head.recipe["until_sequence"] == 66
    assert HeadTraining.objects.get(category=WEAPONS).result == ""
    assert "needed" in HeadTraining.objects.get(category="gambling").result

    # The record goes on, which does not change what the head was trained on.
    last = Decision.objects.order_by("sequence").last()
    assert last is not None
    reverse(decision=last, user=senior, note="No.")
    assert "rebuilt byte for byte" in run("heads", "rebuild", str(head.pk))

    # Its own file comes back as measured; an altered one does not.
    file = tmp_path / "head.json"
    file.write_text(run("heads", "export", str(head.pk)))
    assert "as measured" in run("heads", "import", str(file), "--by", "lead")
    imported = get_head()
    assert imported.pk != head.pk
    assert (imported.sha256, imported.failures) == (head.sha256, [])
    learning.promote(head=imported, user=lead)
    learning.promote(head=imported, user=lead, note="Measured.")
    assert get_head("active").pk == imported.pk

    # The worker does not train again without new labels, and keeps what is in use.
    house.learn()
    house.learn()
    assert Head.objects.exclude(status="retired").filter(category=WEAPONS).count() == 2


def test_category_that_cannot_be_trained_says_why(house: House) -> None:
    house.judge(house.store(is_red=True), "reject", categories=[WEAPONS])

    house.learn()

    row = HeadTraining.objects.get(category=WEAPONS)
    assert "1 images with the category; 30 are needed." in row.result
    assert row.sequence == 1
    assert not Head.objects.exists()
    assert not HeadTraining.objects.due().exists()


def test_training_is_not_due_without_the_classifier(settings: Any) -> None:
    learning.add_trainings()
    assert moderation.tasks.train.is_due()

    settings.CLASSIFIERS = ["opennsfw"]

    assert not moderation.tasks.train.is_due()


def test_training_that_crashes_its_worker_is_given_up_until_tomorrow() -> None:
    learning.add_trainings()
    HeadTraining.objects.exclude(category=WEAPONS).delete()
    HeadTraining.objects.update(attempts=learning.MAX_ATTEMPTS)

    moderation.tasks.train()

    row = HeadTraining.objects.get()
    assert "crashed its worker" in row.result
    assert row.attempts == 0
    assert row.due_at is not None
    assert row.due_at > timezone.now()


# --- Steps ---
def test_promotion_goes_step_by_step_and_is_recorded(lead: User) -> None:
    head = make_head()

    learning.promote(head=head, user=lead)
    learning.promote(head=head, user=lead, note="A month of good order.", may_reject=True)

    head.refresh_from_db()
    assert (head.status, head.may_reject) == ("active", True)
    assert list(HeadChange.objects.values_list("before", "after", "author", "note")) == [
        ("shadow", "advisory", lead.pk, ""),
        ("advisory", "active", lead.pk, "A month of good order."),
    ]
    with pytest.raises(LearningError, match="last step"):
        learning.promote(head=head, user=lead)


@pytest.mark.parametrize("role", ["moderator", "senior", "auditor"])
def test_only_a_policy_lead_promotes_and_retires(request: Any, role: str) -> None:
    person, head = request.getfixturevalue(role), make_head()

    for change in (learning.promote, learning.retire):
        with pytest.raises(LearningError, match="may not"):
            change(head=head, user=person)
    assert get_head().pk == head.pk


@pytest.mark.parametrize(
    ("status", "failure", "may"),
    [
        ("shadow", FEW, False),
        ("shadow", IMPRECISE, True),
        ("advisory", IMPRECISE, False),
        ("advisory", FEW, False),
    ],
)
def test_each_step_has_its_conditions(
    lead: User, status: str, failure: dict[str, str], may: bool
) -> None:
    head = make_head(status, failures=[failure])

    if may:
        assert learning.promote(head=head, user=lead).status == "advisory"
    else:
        with pytest.raises(LearningError, match=failure["reason"]):
            learning.promote(head=head, user=lead)


def test_higher_aim_needs_a_new_measurement(lead: User, settings: Any) -> None:
    settings.HEAD_PRECISION = 90
    head = make_head("advisory")

    with pytest.raises(LearningError, match="measured for a precision of 80%"):
        learning.promote(head=head, user=lead)


def test_promoted_head_replaces_the_one_at_that_step(lead: User) -> None:
    before, head = make_head("advisory"), make_head()

    learning.promote(head=head, user=lead)

    before.refresh_from_db()
    assert before.status == "retired"
    assert HeadChange.objects.get(head=before).note == f"Replaced by head {head.pk}."


def test_shadow_head_may_not_reject(lead: User) -> None:
    with pytest.raises(LearningError, match="Only an active head"):
        learning.promote(head=make_head(), user=lead, may_reject=True)


def test_retired_head_stays_retired(lead: User) -> None:
    head = learning.retire(head=make_head("active", may_reject=True), user=lead, note="Drift.")

    assert head.status == "retired"
    for change in (learning.promote, learning.retire):
        with pytest.raises(LearningError, match="retired"):
            change(head=head, user=lead)


# --- Commands ---
@pytest.mark.usefixtures("lead")
def test_commands_list_show_promote_and_retire() -> None:
    head = make_head(failures=[IMPRECISE])
    number = str(head.pk)

    assert "May be promoted." in run("heads", "list")
    assert "advisory" in run("heads", "promote", number, "--by", "lead")
    assert IMPRECISE["reason"] in run("heads", "list")
    shown = run("heads", "show", number)
    assert head.sha256 in shown
    assert "shadow to advisory by lead" in shown
    assert "retired" in run("heads", "retire", number, "--by", "lead")
    assert "There are no heads" in run("heads", "list")
    assert "retired" in run("heads", "list", "--all")


@pytest.mark.usefixtures("lead", "moderator")
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("show", "99"), "no head 99"),
        (("promote", "1", "--by", "nobody"), "no account nobody"),
        (("promote", "1", "--by", "moderator"), "may not promote"),
        (("rebuild", "1"), "was not trained on this record"),
        (("import", "/nowhere.json", "--by", "lead"), "cannot be read"),
    ],
)
def test_commands_explain_what_they_cannot_do(args: tuple[str, ...], message: str) -> None:
    head = make_head()
    given = [str(head.pk) if arg == "1" else arg for arg in args]

    with pytest.raises(CommandError, match=message):
        run("heads", *given)


@pytest.mark.usefixtures("lead")
def test_head_from_elsewhere_cannot_be_promoted(lead: User, tmp_path: Path) -> None:
    head = make_head()
    recipe = learning.build_current_recipe().to_json()
    file = tmp_path / "head.json"
    file.write_text(json.dumps({"artefact": head.artefact, "recipe": recipe, "failures": []}))

    assert "not measured" in run("heads", "import", str(file), "--by", "lead")

    with pytest.raises(LearningError, match="not measured on this house's decisions"):
        learning.promote(head=get_head(), user=lead)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"artefact": "{}", "recipe": {}}'])
def test_other_files_are_refused(lead: User, text: str) -> None:
    with pytest.raises(LearningError, match="not an exported head"):
        learning.import_file(text, user=lead)


def test_dry_run_stores_nothing_and_prints_what_is_missing(house: House) -> None:
    house.judge(house.store(is_red=True), "reject", categories=[WEAPONS])

    shown = run("train_heads", "--category", WEAPONS, "--dry-run", "--until", "2999-01-01")

    assert "1 images with a label." in shown
    assert "30 are needed" in shown
    assert not Head.objects.exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--until", "yesterday"), "not a day"),
        (("--exclude-person", "nobody"), "no account"),
    ],
)
def test_training_refuses_wrong_limits(args: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run("train_heads", *args)


def test_training_needs_an_encoder(settings: Any) -> None:
    settings.ENCODER = ""

    with pytest.raises(CommandError, match="No encoder"):
        run("train_heads")


def test_scheduler_wakes_the_training_only_if_heads_are_in_use(settings: Any) -> None:
    jobs.discover()
    learning.add_trainings()
    settings.CLASSIFIERS = ["opennsfw"]
    assert "train" not in jobs.tick()

    settings.CLASSIFIERS = ["opennsfw", "learned"]

    assert "train" in jobs.tick()
