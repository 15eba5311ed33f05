"""Rights of the application's role on PostgreSQL: all of Loupe works, and no rewriting."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError
from django.db import ProgrammingError, connection, transaction

from generation import jobs
from moderation.models import Decision, Policy, Verdict
from moderation.services import decisions, policies, proposals, team, verification
from tests.moderation.page_helpers import ClientOf, MakeReview
from tests.moderation.test_commands import run_command

on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="Roles exist on PostgreSQL only"
)


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def application_role(
    moderator: User, senior: User, auditor: User, admin: User, make_review: MakeReview
) -> Iterator[str]:
    """Make a role with the rights of the application, and go on as that role."""
    role = f"loupe_app_{uuid.uuid4().hex[:8]}"
    sql(f"CREATE ROLE {role}")
    run_command("grants", role, "--apply")
    sql(f"SET LOCAL ROLE {role}")
    yield role
    sql("RESET ROLE")


@on_postgresql
def test_main_flow_works_as_the_role_of_the_application(
    application_role: str,
    moderator: User,
    senior: User,
    auditor: User,
    admin: User,
    make_review: MakeReview,
    client_of: ClientOf,
) -> None:
    for verdict in (Verdict.APPROVE, Verdict.REJECT, Verdict.ESCALATE):
        review = make_review()
        decisions.claim(review=review, user=moderator)
        made = decisions.decide(
            review=review,
            user=moderator,
            verdict=verdict,
            categories=["gambling"] if verdict == Verdict.REJECT else [],
        )
    decisions.reverse(decision=made, user=moderator)
    draft = policies.create_version(based_on=Policy.objects.active(), user=senior)
    proposal = proposals.propose(policy=draft, author=senior, reason="As the other role")
    proposals.approve(proposal=proposal, user=admin)
    team.set_roles(actor=admin, person=auditor, names=["auditor", "moderator"])
    client = client_of(auditor)
    export: Any = client.get("/exports/decisions.csv")
    assert len(b"".join(export.streaming_content).splitlines()) == 5
    for path in ("/", "/search/", "/decisions/", "/verifications/", "/traces/", "/team/"):
        assert client.get(path).status_code == 200, path
    jobs.discover()
    for name in sorted(jobs.REGISTRY):
        jobs.find(name)()
    assert client.post("/verifications/new/").status_code == 303
    jobs.find("verify")()
    assert verification.verify_record()[1] == []


TABLE = "moderation_decision"


@on_postgresql
@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE {TABLE} SET note = 'x'",
        f"DELETE FROM {TABLE}",
        f"TRUNCATE {TABLE} CASCADE",
        f"ALTER TABLE {TABLE} DISABLE TRIGGER USER",
        f"ALTER TABLE {TABLE} DROP COLUMN note",
        f"ALTER TABLE {TABLE} ALTER COLUMN note TYPE text USING 'x'",
        f"ALTER TABLE {TABLE} RENAME TO other",
        f"DROP TABLE {TABLE} CASCADE",
        f"DROP TRIGGER {TABLE}_guard_update ON {TABLE}",
        f"CREATE OR REPLACE FUNCTION {TABLE}_guard_update() RETURNS trigger"
        " LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "CREATE TABLE another (id int)",
        "SET session_replication_role = replica",
        "UPDATE moderation_recordevent SET kind = 'hold'",
        "DELETE FROM moderation_accesstrace",
        "DELETE FROM moderation_chainhead",
        "INSERT INTO moderation_chainhead (sequence, hash) VALUES (0, '')",
        "DELETE FROM moderation_verification",
        "DELETE FROM django_admin_log",
        "UPDATE django_migrations SET name = 'x'",
    ],
)
def test_tampering_is_refused_to_the_role_of_the_application(
    application_role: str, statement: str
) -> None:
    with pytest.raises(ProgrammingError), transaction.atomic():
        sql(statement)


@on_postgresql
def test_statements_are_printed_without_apply(db: None) -> None:
    role = f"loupe_app_{uuid.uuid4().hex[:8]}"
    sql(f"CREATE ROLE {role}")

    printed = run_command("grants", role)

    assert f'GRANT SELECT, INSERT ON "{TABLE}" TO {role};' in printed
    assert not Decision.objects.exists()


@on_postgresql
@pytest.mark.parametrize(
    ("role", "message"),
    [("nobody_here", "CREATE ROLE nobody_here"), ("a; DROP", "lower-case letters")],
)
def test_impossible_role_gets_a_message(db: None, role: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run_command("grants", role)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="The message of SQLite")
def test_sqlite_has_no_roles(db: None) -> None:
    with pytest.raises(CommandError, match="PostgreSQL only"):
        run_command("grants", "loupe_app")
