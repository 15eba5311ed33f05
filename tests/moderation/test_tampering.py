"""Tampering with the record, by somebody who can write to the database: refused or detected."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.files.storage import storages
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from generation.models import Asset
from moderation import record_keys
from moderation.models import (
    ChainHead,
    Classification,
    Decision,
    Label,
    NamedCategory,
    Policy,
    PolicyActivation,
    RecordEvent,
    Review,
    TeamEvent,
    Verdict,
    Verification,
)
from moderation.models.decisions import load_event_index
from moderation.services import chain_checks, decisions, policies, proposals, row_notes, team
from moderation.services.verification import verify_record
from tests.moderation.page_helpers import MakeReview, add_label, store_classification_summary
from tests.moderation.record_helpers import rebuild_chain, without_triggers
from tests.stored import replace_stored

IS_SQLITE = connection.vendor == "sqlite"
COUNT = 9


@pytest.fixture
def record(
    make_review: MakeReview,
    moderator: User,
    senior: User,
    admin: User,
    auditor: User,
    monkeypatch: pytest.MonkeyPatch,
) -> list[Decision]:
    """Make a record with all kinds of rows, verified once."""
    monkeypatch.setattr(row_notes, "SETTLE", timedelta(0))  # note the rows of now
    draft = policies.create_version(
        based_on=Policy.objects.active(), user=senior, note="Stricter", nsfw_review_at=10
    )
    proposal = proposals.propose(policy=draft, author=senior, reason="Too many misses")
    proposals.approve(proposal=proposal, user=admin)
    team.set_roles(actor=admin, person=auditor, names=["auditor", "moderator"])
    LogEntry.objects.create(
        user=admin,
        content_type=ContentType.objects.get_for_model(Policy),
        object_id="1",
        object_repr="policy",
        action_flag=ADDITION,
    )
    for number in range(COUNT):
        review = make_review()
        Review.objects.filter(pk=review.pk).update(
            policy=Policy.objects.active(), requested_by=senior if number == 2 else None
        )
        add_label(review, "violence.weapons", 60 + number)
        Classification.objects.filter(asset=review.asset_id).update(finished_at=timezone.now())
        store_classification_summary(review)
        decisions.claim(review=review, user=moderator)
        verdict = (Verdict.APPROVE, Verdict.REJECT, Verdict.ESCALATE)[number % 3]
        decisions.decide(
            review=review,
            user=moderator,
            verdict=verdict,
            categories=["violence.weapons"] if verdict == Verdict.REJECT else [],
            note=f"note {number}",
        )
    decisions.reverse(decision=Decision.objects.get(sequence=2), user=moderator)
    assert verify_record()[1] == []
    return list(Decision.objects.order_by("sequence"))


def sql(statement: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)


def copy_row(original: int, **changes: Any) -> Decision:
    """Build a forged decision from a recorded one; return it unsaved."""
    row = Decision.objects.get(sequence=original)
    row.pk, row.uuid = None, Decision._meta.get_field("uuid").get_default()
    for name, value in changes.items():
        setattr(row, name, value)
    return row


def update(sequence: int, **changes: Any) -> Callable[[], None]:
    def act() -> None:
        Decision.objects.filter(sequence=sequence).update(**changes)

    return act


def delete(**which: Any) -> Callable[[], None]:
    def act() -> None:
        Decision.objects.filter(**which)._raw_delete("default")

    return act


def run(statement: str) -> Callable[[], None]:
    return lambda: sql(statement)


def forge_unsigned(change: Callable[[list[Decision]], list[Decision]]) -> Callable[[], None]:
    """Rewrite the chain as somebody without the key can: each hash is a plain SHA-256."""

    def act() -> None:
        rows = change(list(Decision.objects.order_by("sequence")))
        previous = ""
        Decision.objects.all()._raw_delete("default")
        for number, row in enumerate(rows, start=1):
            row.sequence, row.previous_hash, row._state.adding = number, previous, True
            row.hash = previous = record_keys.sign(
                {"sequence": number, "note": row.note, "verdict": row.verdict}, b"guessed"
            )
        Decision.objects.bulk_create(rows)
        ChainHead.objects.update(sequence=len(rows), hash=previous)

    return act


def change_verdict(rows: list[Decision]) -> list[Decision]:
    rows[1].verdict, rows[1].categories = "approve", []
    return rows


def insert_in_the_middle(rows: list[Decision]) -> list[Decision]:
    forged = copy_row(1, note="forged")
    forged.review = rows[-2].review
    return [*rows[:3], forged, *rows[3:]]


def forge_past_head() -> None:
    head = ChainHead.objects.get()
    forged = copy_row(1, sequence=head.sequence + 1, previous_hash=head.hash, hash="0" * 64)
    forged.save(force_insert=True)


def forge_last_and_move_head() -> None:
    forge_past_head()
    ChainHead.objects.update(sequence=COUNT + 2, hash="0" * 64)


def cut_tail() -> None:
    Decision.objects.filter(sequence__gt=COUNT - 2)._raw_delete("default")
    last = Decision.objects.get(sequence=COUNT - 2)
    ChainHead.objects.update(sequence=last.sequence, hash=last.hash)


def delete_all() -> None:
    Decision.objects.all()._raw_delete("default")
    ChainHead.objects.update(sequence=0, hash="")


def delete_all_and_seal() -> None:
    delete_all()
    RecordEvent.objects.all().delete()
    ChainHead.objects.update(events=0, event_hash="", version=1, key_id="")


def downgrade() -> None:
    """Remove the seal, and write the record in the form that needs no key."""
    rows = list(Decision.objects.order_by("sequence"))
    rows[1].note = "forged"
    previous = ""
    for row in rows:
        row.version, row.previous_hash = 1, previous
        row.hash = previous = row.compute_hash()
        row.save()
    RecordEvent.objects.all().delete()
    ChainHead.objects.update(hash=previous, version=1, events=0, event_hash="", key_id="")


def swap_keys() -> None:
    first, second = Decision.objects.filter(sequence__in=[2, 5]).order_by("sequence")
    sql("UPDATE moderation_decision SET id = 0 WHERE id = %s", first.pk)
    sql("UPDATE moderation_decision SET id = %s WHERE id = %s", first.pk, second.pk)
    sql("UPDATE moderation_decision SET id = %s WHERE id = 0", second.pk)


def swap_sequences() -> None:
    sql("UPDATE moderation_decision SET sequence = 0 WHERE sequence = 4")
    sql("UPDATE moderation_decision SET sequence = 4 WHERE sequence = 7")
    sql("UPDATE moderation_decision SET sequence = 7 WHERE sequence = 0")


def renumber() -> None:
    Decision.objects.filter(sequence=5)._raw_delete("default")
    for number in range(6, COUNT + 2):
        Decision.objects.filter(sequence=number).update(sequence=number - 1)


def rehash_one() -> None:
    row = Decision.objects.get(sequence=4)
    row.note = "forged"
    row.hash = record_keys.sign({"note": row.note}, b"guessed")
    row.save()


def swap_assets() -> None:
    first, second = Review.objects.order_by("pk")[:2]
    spare = Asset.objects.get(pk=first.asset_id)
    spare.pk, spare.uuid = None, "00000000-0000-0000-0000-000000000001"
    spare.source_sha256 = "f" * 64
    spare.save(force_insert=True)
    one, other = first.asset_id, second.asset_id
    Review.objects.filter(pk=first.pk).update(asset=spare)
    Review.objects.filter(pk=second.pk).update(asset=one)
    Review.objects.filter(pk=first.pk).update(asset=other)


def point_rendition_elsewhere() -> None:
    first, second = Asset.objects.order_by("pk")[:2]
    Asset.objects.filter(pk=first.pk).update(rendition=second.rendition.name)


def replace_hash_and_file() -> None:
    first, second = Asset.objects.order_by("pk")[:2]
    Asset.objects.filter(pk=first.pk).update(
        rendition=second.rendition.name, sha256=second.sha256, image_type=second.image_type
    )


def replace_file() -> None:
    asset = Asset.objects.order_by("pk").first()
    assert asset is not None
    replace_stored(asset.rendition.name, b"another picture")


def delete_file() -> None:
    asset = Asset.objects.order_by("pk").first()
    assert asset is not None
    storages["assets"].delete(str(asset.rendition.name))


def approve_rejected() -> None:
    review = Review.objects.filter(status="rejected").order_by("pk").first()
    assert review is not None
    Review.objects.filter(pk=review.pk).update(status="approved")


def approve_undecided() -> None:
    review = Decision.objects.get(sequence=2).review  # reversed
    Review.objects.filter(pk=review.pk).update(
        status="approved", decided_at=review.created_at, claimed_by=None, claimed_until=None
    )


def activate_other_policy() -> None:
    Policy.objects.filter(is_active=True).update(is_active=False)
    Policy.objects.filter(version=1).update(is_active=True)


def add_activation() -> None:
    PolicyActivation.objects.create(policy=Policy.objects.active())


def give_role() -> None:
    person = User.objects.get(username="moderator")
    group = Group.objects.get(name="senior moderator")
    User.groups.through.objects.bulk_create(
        [User.groups.through(user_id=person.pk, group_id=group.pk)]
    )


def give_permission_to_role() -> None:
    group = Group.objects.get(name="auditor")
    missing = Permission.objects.exclude(group=group).first()
    assert missing
    Group.permissions.through.objects.bulk_create(
        [Group.permissions.through(group_id=group.pk, permission_id=missing.pk)]
    )


def change_event_and_chain() -> None:
    event = RecordEvent.objects.filter(kind="policy").order_by("-sequence").first()
    assert event is not None
    event.payload["content"]["settings"]["nsfw_review_at"] = "99.00"
    event.hash = record_keys.sign(event.payload, b"guessed")
    event.save()


def delete_trigger_by_schema() -> None:
    name = "moderation_decision_guard_update"
    sql("DROP TRIGGER " + name + ("" if IS_SQLITE else " ON moderation_decision"))


def disable_trigger() -> None:
    sql("SET CONSTRAINTS ALL IMMEDIATE")  # no table with pending checks is altered
    sql("ALTER TABLE moderation_decision DISABLE TRIGGER moderation_decision_guard_delete")


def weaken_trigger() -> None:
    sql(
        "CREATE OR REPLACE FUNCTION moderation_decision_guard_update() RETURNS trigger"
        " LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
    )


@dataclass(frozen=True)
class Tampering:
    """A change of the database. ``drops``: by somebody who removes the triggers meanwhile."""

    name: str
    act: Callable[[], Any]
    drops: bool = True
    only: str = ""  # the database that has such a statement


TABLE = "moderation_decision"
REFUSED = [
    Tampering("UPDATE", run(f"UPDATE {TABLE} SET note = 'forged'"), drops=False),
    Tampering("DELETE one", delete(sequence=3), drops=False),
    Tampering("DELETE tail", delete(sequence__gt=8), drops=False),
    Tampering("DELETE all", run(f"DELETE FROM {TABLE}"), drops=False),
    Tampering(
        "UPDATE OR REPLACE",
        run(f"UPDATE OR REPLACE {TABLE} SET sequence = 3 WHERE sequence = 4"),
        drops=False,
        only="sqlite",
    ),
    Tampering(
        "INSERT OR REPLACE",
        run(f"INSERT OR REPLACE INTO {TABLE} SELECT * FROM {TABLE}"),
        drops=False,
        only="sqlite",
    ),
    Tampering("queryset.update()", update(2, verdict="approve", categories=[]), drops=False),
    Tampering(
        "queryset.delete()",
        lambda: Decision.objects.filter(sequence=COUNT + 1).delete(),
        drops=False,
    ),
    Tampering("TRUNCATE CASCADE", run(f"TRUNCATE {TABLE} CASCADE"), drops=False, only="postgresql"),
    Tampering(
        "replica role",
        run(f"SET LOCAL session_replication_role = replica; DELETE FROM {TABLE}"),
        drops=False,
        only="postgresql",
    ),
    Tampering(
        "ON CONFLICT",
        run(f"INSERT INTO {TABLE} SELECT * FROM {TABLE} ON CONFLICT (id) DO UPDATE SET note = 'x'"),
        drops=False,
    ),
    Tampering(
        "MERGE",
        run(
            f"MERGE INTO {TABLE} a USING {TABLE} b ON a.id = b.id"
            " WHEN MATCHED THEN UPDATE SET note = 'x'"
        ),
        drops=False,
        only="postgresql",
    ),
    Tampering("head moved back", cut_tail, drops=False),
    Tampering("head to nothing", run("UPDATE moderation_chainhead SET sequence = 0"), drops=False),
    Tampering("head moved on", run("UPDATE moderation_chainhead SET sequence = 99"), drops=False),
    Tampering("head deleted", run("DELETE FROM moderation_chainhead"), drops=False),
    Tampering(
        "verification changed", run("UPDATE moderation_verification SET faults = 9"), drops=False
    ),
    Tampering("verification deleted", run("DELETE FROM moderation_verification"), drops=False),
    Tampering(
        "activation changed",
        run("UPDATE moderation_policyactivation SET reason = 'x'"),
        drops=False,
    ),
    Tampering("activation deleted", run("DELETE FROM moderation_policyactivation"), drops=False),
    Tampering("used rules changed", run("DELETE FROM moderation_policyrule"), drops=False),
    Tampering(
        "used policy changed",
        run("UPDATE moderation_policy SET may_approve = NOT may_approve"),
        drops=False,
    ),
    Tampering("team event deleted", run("DELETE FROM moderation_teamevent"), drops=False),
    Tampering("admin log deleted", run("DELETE FROM django_admin_log"), drops=False),
    Tampering("event changed", run("UPDATE moderation_recordevent SET kind = 'hold'"), drops=False),
]
DETECTED = [
    Tampering("verdict", update(1, verdict="escalate")),
    Tampering("note", update(3, note="forged")),
    Tampering("reviewer name", update(3, reviewer_name="another")),
    Tampering("seconds", update(3, seconds="9.9")),
    Tampering("time", run(f"UPDATE {TABLE} SET created_at = '2020-01-01 00:00:00+00'")),
    Tampering("review", lambda: update(1, review=Review.objects.last())()),
    Tampering("evidence", update(1, evidence="0" * 64)),
    Tampering("delete middle", delete(sequence=4)),
    Tampering("delete tail", delete(sequence__gt=9)),
    Tampering("swap sequences", swap_sequences),
    Tampering("renumber", renumber),
    Tampering("rehash one", rehash_one),
    Tampering("forged past the head", forge_past_head, drops=False),
    Tampering("forged last, head moved", forge_last_and_move_head, drops=False),
    Tampering("delete tail, head back", cut_tail),
    Tampering("delete all, head to 0", delete_all),
    Tampering("delete all, seal too", delete_all_and_seal),
    Tampering("form without a key", downgrade),
    Tampering("verdict, chain rewritten", forge_unsigned(change_verdict)),
    Tampering("rejection deleted, chain rewritten", forge_unsigned(lambda r: [*r[:4], *r[5:]])),
    Tampering("inserted, chain rewritten", forge_unsigned(insert_in_the_middle)),
    Tampering("primary keys swapped", swap_keys),
    Tampering("trigger dropped", delete_trigger_by_schema, drops=False),
    Tampering("trigger disabled", disable_trigger, drops=False, only="postgresql"),
    Tampering("trigger weakened", weaken_trigger, drops=False, only="postgresql"),
    Tampering("status of a rejected image", approve_rejected, drops=False),
    Tampering("status of an undecided image", approve_undecided, drops=False),
    Tampering(
        "delivered unblurred",
        run("UPDATE moderation_review SET is_blurred = NOT is_blurred WHERE status = 'approved'"),
        drops=False,
    ),
    Tampering("asset swapped", swap_assets, drops=False),
    Tampering("rendition elsewhere", point_rendition_elsewhere, drops=False),
    Tampering("rendition and hash", replace_hash_and_file, drops=False),
    Tampering("bytes of a file", replace_file, drops=False),
    Tampering("file deleted", delete_file, drops=False),
    Tampering("requester", run("UPDATE moderation_review SET requested_by_id = NULL"), drops=False),
    Tampering("labels", lambda: Label.objects.update(confidence=1), drops=False),
    Tampering(
        "labels and summary",
        lambda: (
            Label.objects.all().delete(),
            Review.objects.update(classification_summary=[]),
        ),
        drops=False,
    ),
    Tampering(
        "named categories", lambda: NamedCategory.objects.all()._raw_delete("default"), drops=False
    ),
    Tampering("policy in force", activate_other_policy, drops=False),
    Tampering("rules in force", run("UPDATE moderation_policyrule SET reject_at = NULL")),
    Tampering("setting in force", lambda: Policy.objects.update(may_approve=False)),
    Tampering("activation added", add_activation, drops=False),
    Tampering("activations deleted", lambda: PolicyActivation.objects.last().delete()),
    Tampering("activation's reason", lambda: PolicyActivation.objects.update(reason="x")),
    Tampering("verifications deleted", lambda: Verification.objects.all().delete()),
    Tampering("verification's head", lambda: Verification.objects.update(head="0" * 64)),
    Tampering("admin log", lambda: LogEntry.objects.all().delete()),
    Tampering("team event", lambda: TeamEvent.objects.update(details="x")),
    Tampering("role given", give_role, drops=False),
    Tampering("permission given to a role", give_permission_to_role, drops=False),
    Tampering(
        "superuser made",
        lambda: User.objects.filter(username="moderator").update(is_superuser=True),
        drops=False,
    ),
    Tampering("event", change_event_and_chain),
    Tampering("events deleted", lambda: RecordEvent.objects.filter(sequence__gt=3).delete()),
]


def select(cases: list[Tampering]) -> list[Any]:
    return [
        pytest.param(case, id=case.name) for case in cases if case.only in ("", connection.vendor)
    ]


@pytest.mark.parametrize("case", select(REFUSED))
def test_tampering_is_refused(record: list[Decision], case: Tampering) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        case.act()

    assert verify_record()[1] == []


@pytest.mark.parametrize("case", select(DETECTED))
def test_tampering_is_detected(record: list[Decision], case: Tampering) -> None:
    if connection.vendor == "postgresql":
        sql("SET CONSTRAINTS ALL DEFERRED")
    else:
        sql("PRAGMA defer_foreign_keys = ON")

    if case.drops:
        with without_triggers():
            case.act()
    else:
        case.act()

    faults = verify_record()[1]
    assert faults, case.name
    print(f"{case.name}: {faults[0]}")  # the table of docs/auditing.md, with -s
    transaction.set_rollback(True)


def test_owner_of_the_key_can_rewrite_the_record_unless_a_head_was_noted(
    record: list[Decision],
) -> None:
    """State the limit: whoever has both the database and the key."""

    def forge(row: Decision) -> None:
        if row.sequence == 3:
            row.note = "forged"

    rebuild_chain(forge)

    assert any("an earlier verification" in fault for fault in verify_record()[1])


COLUMNS = [field.column for field in Decision._meta.concrete_fields]


def read_raw() -> list[tuple[Any, ...]]:
    return list(Decision.objects.order_by("pk").values_list())


def change_byte(value: Any, chance: random.Random) -> str:
    """Return a stored value as text with one character changed."""
    text = str(value)
    place = chance.randrange(len(text) or 1)
    other = chance.choice(
        [chr(code) for code in range(32, 127) if chr(code) != text[place : place + 1]]
    )
    return text[:place] + other + text[place + 1 :]


def try_edit(key: int, column: str, value: Any) -> str:
    """Set one value with SQL, and return whether that was refused, the same, found or missed."""
    before = read_raw()
    try:
        with transaction.atomic():
            sql(f"UPDATE {TABLE} SET {column} = %s WHERE id = %s", value, key)
    except DatabaseError:
        return "refused"
    try:
        if read_raw() == before:
            return "same"
    except Exception:  # unreadable, thus another value
        pass
    # The chain alone first: it is much quicker than the whole verification.
    return "found" if find_chain_faults() or verify_record()[1] else "missed"


def find_chain_faults() -> list[str]:
    head = ChainHead.objects.get()
    check = Verification(decisions=0, until=head.sequence, head=head.hash)
    return chain_checks.read_step(check, load_event_index()) + chain_checks.find_end_faults(check)


@pytest.mark.slow
def test_a_thousand_random_edits_are_refused_or_found(record: list[Decision]) -> None:
    seed = 20261201
    chance = random.Random(seed)
    results: Counter[str] = Counter()
    missed = []
    with without_triggers():
        for _ in range(1000):
            row, column = chance.choice(record), chance.choice(COLUMNS)
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(f"SELECT {column} FROM {TABLE} WHERE id = %s", [row.pk])
                    (value,) = cursor.fetchone()
                edited = change_byte(value, chance)
                result = try_edit(row.pk, column, edited)
                transaction.set_rollback(True)
            results[result] += 1
            results[f"{result}: {column}"] += result == "same"
            if result == "missed":
                missed.append((seed, column, value, edited))
    print(dict(results))  # the figures of docs/auditing.md, with -s
    assert missed == []
    assert results["found"] + results["refused"] + results["same"] == 1000


@pytest.mark.skipif(not IS_SQLITE, reason="PostgreSQL refuses values of another type")
@pytest.mark.parametrize("value", [None, "x", b"\xff\xfe", 12, -1.5, "", 10**18, "[[["])
@pytest.mark.parametrize("table", [TABLE, "moderation_recordevent", "moderation_review"])
def test_value_of_another_type_is_reported_in_words(
    record: list[Decision], table: str, value: Any
) -> None:
    """A value of the wrong type in any column ends in a message, never in a traceback."""
    model = {TABLE: Decision, "moderation_recordevent": RecordEvent}.get(table, Review)
    sql("PRAGMA ignore_check_constraints = ON")
    with without_triggers():
        for field in model._meta.concrete_fields:
            with transaction.atomic():
                key = model._default_manager.values_list("pk", flat=True)[1]
                try:
                    with transaction.atomic():
                        sql(f"UPDATE {table} SET {field.column} = %s WHERE id = %s", value, key)
                except DatabaseError:
                    continue
                faults = verify_record()[1]
                assert all(isinstance(fault, str) for fault in faults)
                if table == TABLE and value not in (None, ""):
                    assert faults, field.column
                transaction.set_rollback(True)
    sql("PRAGMA ignore_check_constraints = OFF")
