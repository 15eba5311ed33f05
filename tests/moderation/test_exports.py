from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from generation.models import GenerationRequest, Source
from moderation.models import Decision, Policy, PolicyActivation, Review, Verdict
from moderation.services import decisions, policies
from moderation.services.audit_log import record_decision
from moderation.services.exports import tables
from moderation.services.exports.columns import DECISION_COLUMNS
from moderation.services.exports.escaping import escape_cell
from moderation.services.exports.formats import iter_csv
from moderation.services.exports.tables import build_decision_table, build_image_table
from moderation.services.verification import verify_record
from tests.moderation.page_helpers import record_legacy_approval

Factory = Callable[..., Any]
ClientOf = Callable[[User], Client]


def read_rows(response: Any) -> list[dict[str, str]]:
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def decide_new_review(
    make_review: Factory, user: User, verdict: Verdict, **fields: Any
) -> Decision:
    review = make_review(**fields.pop("origin", {}))
    decisions.claim(review=review, user=user)
    return decisions.decide(review=review, user=user, verdict=verdict, **fields)


@pytest.fixture
def record(
    make_review: Factory, make_request: Factory, senior: User, moderator: User
) -> list[Decision]:
    request: GenerationRequest = make_request(prompt='=HYPERLINK("http://evil")')
    origin = {"source": Source.TXT2IMG, "request": request, "position": 0}
    rejected = decide_new_review(
        make_review,
        moderator,
        Verdict.REJECT,
        categories=["violence.weapons"],
        note="@SUM(1)",
        origin=origin,
    )
    approved = decide_new_review(make_review, senior, Verdict.APPROVE, seconds=Decimal("2.5"))
    reversal = decisions.reverse(decision=rejected, user=moderator)
    by_policy = record_decision(
        review=make_review(),
        verdict=Verdict.REJECT,
        categories=["alcohol"],
        policy_id=Policy.objects.active().pk,
        by_policy=True,
    )
    return [rejected, approved, reversal, by_policy]


def test_download_has_all_decisions_in_order_with_context(
    record: list[Decision], senior: User, client_of: ClientOf
) -> None:
    response = client_of(senior).get("/exports/decisions.csv")

    rows = read_rows(response)
    assert [row["verdict"] for row in rows] == ["reject", "approve", "reopen", "reject"]
    assert list(rows[0]) == [column.header for column in DECISION_COLUMNS]
    assert rows[0]["categories"] == "violence.weapons"
    assert rows[0]["prompt"] == '\'=HYPERLINK("http://evil")'
    assert rows[0]["note"] == "'@SUM(1)"
    assert rows[0]["seed"] == "7"
    assert rows[1]["seconds"] == "2.5"
    assert rows[2]["reverses"] == str(record[0].uuid)
    assert (rows[3]["by_policy"], rows[3]["reviewer"]) == ("yes", "")
    assert response["Content-Disposition"].startswith('attachment; filename="loupe-decisions-')
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("verdict=reject", [0, 3]),
        ("category=violence", [0]),
        ("category=violence.weapons", [0]),
        ("category=alcohol", [3]),
        ("category=gambling", []),
        ("reviewer=senior", [1]),
        ("by=policy", [3]),
        ("by=person&verdict=reject", [0]),
        ("start=2020-01-01&end=2020-12-31", []),
        ("start=9999-12-31&end=9999-12-31", []),
    ],
)
def test_filters_narrow_download(
    record: list[Decision], senior: User, client_of: ClientOf, query: str, expected: list[int]
) -> None:
    rows = read_rows(client_of(senior).get(f"/exports/decisions.csv?{query}"))

    assert [row["decision"] for row in rows] == [str(record[index].uuid) for index in expected]


def test_blurred_approvals_are_marked_and_can_be_filtered(
    record: list[Decision], make_review: Factory, senior: User, client_of: ClientOf
) -> None:
    blurred = decide_new_review(make_review, senior, Verdict.APPROVE, is_blurred=True)
    client = client_of(senior)

    rows = read_rows(client.get("/exports/decisions.csv"))
    found = read_rows(client.get("/exports/decisions.csv?delivered=blurred"))
    others = read_rows(client.get("/exports/decisions.csv?delivered=unblurred"))
    images = read_rows(client.get("/exports/images.csv?delivered=blurred"))

    assert [row["blurred"] for row in rows] == ["no", "no", "no", "no", "yes"]
    assert [row["decision"] for row in found] == [str(blurred.uuid)]
    assert [row["decision"] for row in others] == [str(record[1].uuid)]
    assert [(row["decision"], row["blurred"]) for row in images] == [(str(blurred.uuid), "yes")]


def test_date_range_includes_its_last_day(
    record: list[Decision], senior: User, client_of: ClientOf
) -> None:
    today = timezone.now().date()

    assert (
        len(read_rows(client_of(senior).get(f"/exports/decisions.csv?start={today}&end={today}")))
        == 4
    )
    tomorrow = today + timedelta(days=1)
    assert read_rows(client_of(senior).get(f"/exports/decisions.csv?start={tomorrow}")) == []


@pytest.mark.parametrize(
    "query", ["verdict=maybe", "category=kittens", "start=yesterday", "by=ghost"]
)
def test_invalid_filter_value_returns_400(senior: User, client_of: ClientOf, query: str) -> None:
    assert client_of(senior).get(f"/exports/decisions.csv?{query}").status_code == 400


def test_export_needs_permission(
    moderator: User, auditor: User, lead: User, client_of: ClientOf, client: Client
) -> None:
    assert client.get("/exports/decisions.csv").status_code == 302
    assert client_of(moderator).get("/exports/decisions.csv").status_code == 403
    assert client_of(auditor).get("/exports/decisions.csv").status_code == 200
    assert client_of(lead).get("/exports/decisions.csv").status_code == 200


# Listed by hand, as an independent check of the export, which derives them from Unicode's tables.
STARTERS = "=+-@|%＝＋－＠｜％\u2212\ufe62\ufe63\ufe66\ufe6a\ufe6b"
INVISIBLE = (
    " \t\r\n\v\f\x01\x1c\x7f\x85\xa0\xad\u034f\u061c\u115f\u1160\u1680\u180e\u2000\u200a\u200b\u200c\u200d\u200e\u200f"
    "\u2028\u2029\u202a\u202e\u202f\u205f\u2060\u2063\u2066\u2069\u206a\u2800\u3000\u3164\ufe0f\ufeff\uffa0\ufff9\U000e0020"
)


@given(st.text(max_size=40) | st.text(alphabet=INVISIBLE + STARTERS + "a1'", max_size=8))
def test_no_escaped_cell_starts_like_a_formula(text: str) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow([escape_cell(text)])
    (row,) = csv.reader(io.StringIO(stream.getvalue(), newline=""))

    assert not row[0].lstrip(INVISIBLE).startswith(tuple(STARTERS))
    assert row[0].removeprefix("'") == text.replace("\0", "").removeprefix("'")


def test_formulas_after_invisible_characters_are_escaped() -> None:
    texts = [
        f"{hidden}{starter}1" for hidden in ["", *INVISIBLE, INVISIBLE] for starter in STARTERS
    ]
    assert [text for text in texts if escape_cell(text) != f"'{text}"] == []
    kept = ["é=1", "a=1", "1-1", "\u200ba=1", "…=1", "'=1", "(=1)", "한국=1", "", " ", "\u200b"]
    assert [escape_cell(text) for text in kept] == kept


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@A1", "|x", "%x", "\t=1", "\r=1", "  =1", "\u200b=1", "＝1", "\ufeff@x"],
)
def test_known_formula_triggers_are_escaped(text: str) -> None:
    assert escape_cell(text) == f"'{text}"


def test_cells_have_documented_formats(
    record: list[Decision], senior: User, client_of: ClientOf
) -> None:
    Review.objects.update(top_confidence=Decimal("97.5"))
    first, second, reversal, _ = read_rows(client_of(senior).get("/exports/decisions.csv"))

    moment = record[0].created_at.isoformat(timespec="milliseconds")
    assert (first["sequence"], first["decided_at"], first["by_policy"]) == ("1", moment, "no")
    assert (first["reversed_by"], reversal["reverses"]) == (reversal["decision"], first["decision"])
    assert (first["category_names"], first["batch"], first["seconds"]) == ("Weapons", "", "")
    asset = record[0].review.asset
    assert (first["asset"], first["asset_sha256"], first["source"]) == (
        str(asset.uuid),
        asset.sha256,
        "txt2img",
    )
    assert first["request"] == str(asset.request.uuid)
    assert (second["request"], second["provider"], second["seed"]) == ("", "", "")
    assert (first["headline_confidence"], first["hash"]) == ("97.50", record[0].hash)


def test_full_seconds_have_milliseconds_and_batch_is_exported(
    make_review: Factory, senior: User, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    review, batch = make_review(), uuid4()
    decisions.claim(review=review, user=senior)
    full = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    monkeypatch.setattr(Decision._meta.get_field("created_at"), "_get_default", lambda: full)
    decisions.decide(review=review, user=senior, verdict=Verdict.APPROVE, batch=batch)
    (row,) = read_rows(client_of(senior).get("/exports/decisions.csv"))
    assert (row["decided_at"], row["batch"]) == ("2026-01-02T03:04:05.000+00:00", str(batch))


def test_export_starts_with_header_and_takes_one_query(
    record: list[Decision], django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        chunks = iter_csv(build_decision_table(Decision.objects.all()))
        header = next(chunks)
        assert (header.rows, header.data.decode()[0]) == (0, "\ufeff")
        assert [chunk.rows for chunk in chunks] == [4]


@pytest.mark.parametrize("page_rows", [1, 2, 1000])
def test_pages_behind_a_pooler_have_the_same_rows(
    record: list[Decision], page_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided, images = (
        build_decision_table(Decision.objects.all()),
        build_image_table(Review.objects.all(), evidence=True),
    )
    whole = [b"".join(chunk.data for chunk in iter_csv(table)) for table in (decided, images)]
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    monkeypatch.setattr(tables, "PAGE_ROWS", page_rows)

    assert [
        b"".join(chunk.data for chunk in iter_csv(table)) for table in (decided, images)
    ] == whole
    assert whole[0].count(b"\r\n") == len(record) + 1


def test_export_command_writes_complete_file_or_none(
    record: list[Decision], tmp_path: Path
) -> None:
    path = tmp_path / "decisions.csv"

    call_command("export_decisions", output=path, verdict="reject")

    with path.open(encoding="utf-8-sig", newline="") as file:
        assert [row["verdict"] for row in csv.DictReader(file)] == ["reject", "reject"]
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(CommandError, match="verdict"):
        call_command("export_decisions", output=tmp_path / "other.csv", verdict="maybe")
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("export_decisions", output=tmp_path / "nowhere" / "x.csv")


def test_export_command_writes_to_standard_output(
    record: list[Decision], capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("export_decisions", by="policy")

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert str(record[3].uuid) in lines[1]


def test_docs_list_all_columns_and_values_of_the_exports(settings: Any) -> None:
    text = (settings.BASE_DIR / "docs" / "csv.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.+?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    listed = {
        name: dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE))
        for name, section in sections.items()
    }
    headers = build_decision_table(Decision.objects.none()).headers
    with_evidence = build_decision_table(Decision.objects.none(), evidence=True).headers

    assert list(listed["Decisions"]) == headers
    assert list(listed["Images"]) == build_image_table(Review.objects.none()).headers
    assert list(listed["Evidence"]) == with_evidence[len(headers) :]
    assert all(f"`{value}`" in listed["Decisions"]["verdict"] for value in Verdict.values)
    assert all(f"`{value}`" in listed["Images"]["status"] for value in Review.Status.values)
    for value, label in Source.choices:
        assert f"`{value}` (" in listed["Decisions"]["source"]
        assert label in listed["Decisions"]["source"]


def test_unknown_filter_returns_400_with_its_name(
    record: list[Decision], senior: User, client_of: ClientOf, capsys: pytest.CaptureFixture[str]
) -> None:
    browser = client_of(senior)
    sentence = "There is no filter reviewr. Filters: start, end, verdict, delivered, category, reviewer, by."

    for query in ("?reviewr=x", "?reviewr=", "?verdict=reject&reviewr=x"):
        answer = browser.get(f"/exports/decisions.csv{query}")
        assert answer.status_code == 400
        assert sentence in answer.content.decode()
    for query in ("?before=5", "?page=2"):
        assert browser.get(f"/exports/decisions.csv{query}").status_code == 400
    page = browser.get("/decisions/?reviewr=x")
    assert page.status_code == 200
    assert sentence in page.content.decode()
    assert page.context["page"] == []
    assert browser.get("/decisions/?before=1000000").context["page"]
    with pytest.raises(CommandError, match="reviewr"):
        call_command("export_decisions", "--reviewr=x")


def test_row_has_policy_version_and_policy_in_force(
    make_review: Factory, moderator: User, senior: User, lead: User, client_of: ClientOf
) -> None:
    routed = make_review()
    second = policies.create_version(based_on=Policy.objects.active(), user=lead)
    policies.activate(policy=second, user=lead)
    decisions.claim(review=routed, user=moderator)
    decision = decisions.decide(review=routed, user=moderator, verdict=Verdict.APPROVE)

    (row,) = read_rows(client_of(senior).get("/exports/decisions.csv"))

    assert (row["policy_version"], row["policy_in_force"]) == ("1", "2")
    assert decision.policy_in_force == second
    assert verify_record()[1] == []


def test_policy_in_force_is_derived_for_older_decisions(
    make_review: Factory, moderator: User, senior: User, client_of: ClientOf
) -> None:
    review = make_review()
    early = timezone.now() - timedelta(days=1)
    first = Policy.objects.active()
    later = policies.create_version(based_on=first, user=None)
    PolicyActivation.objects.create(policy=first, created_at=early - timedelta(days=1))
    policies.activate(policy=later, user=None)
    record_legacy_approval(review, moderator, created_at=early)

    (exported,) = read_rows(client_of(senior).get("/exports/decisions.csv"))

    assert exported["policy_in_force"] == "1"
    assert not any("altered" in fault for fault in verify_record()[1])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"risk": 0}, "No findings"),
        ({"risk": 5}, "No findings"),
        ({"risk": 90}, "Flagged, no category"),
        ({"risk": 99}, "Judged in part"),
        ({"risk": 100}, "Not judged"),
        ({"risk": 100, "top_confidence": 100}, "NSFW score"),
        ({"risk": 50, "top_category": "alcohol.use"}, "Alcohol Use"),
    ],
)
def test_finding_has_same_text_in_export_and_on_pages(
    make_review: Factory, senior: User, client_of: ClientOf, fields: dict[str, Any], words: str
) -> None:
    review, client = make_review(), client_of(senior)
    Review.objects.filter(pk=review.pk).update(**fields)
    for address in ("/queues/waiting/", "/search/?status=pending", review.get_absolute_url()):
        page = client.get(address).content.decode()
        assert words in page, address
        assert [other for other in FINDINGS - {words} if other in page] == [], address
    client.post("/queues/waiting/sheet/")
    assert words in client.get("/queues/waiting/sheet/").content.decode()
    record_decision(
        review=review, verdict=Verdict.APPROVE, policy_id=review.policy_id, reviewer=senior
    )

    (row,) = read_rows(client.get("/exports/decisions.csv"))

    assert row["finding"] == words


@pytest.mark.parametrize(
    ("fields", "shows_none", "number"),
    [
        ({"top_category": "alcohol.use", "risk": 53, "top_confidence": None}, True, 53),
        ({"top_category": "", "risk": 90, "top_confidence": None}, False, 90),
        ({"top_category": "", "risk": 100, "top_confidence": None}, False, 100),
    ],
)
def test_sort_keys_are_not_shown_as_confidences(
    make_review: Factory,
    senior: User,
    client_of: ClientOf,
    fields: dict[str, Any],
    shows_none: bool,
    number: int,
) -> None:
    review, client = make_review(), client_of(senior)
    Review.objects.filter(pk=review.pk).update(**fields)
    client.post("/queues/waiting/sheet/")

    for address in ("/queues/waiting/", "/queues/waiting/sheet/", review.get_absolute_url()):
        page = client.get(address).content.decode()
        assert ("no confidence given" in page) == shows_none, address
        assert re.search(rf">\s*{number}\s*<", page) is None, address
    (row,) = read_rows(client.get("/exports/images.csv"))
    assert row["headline_confidence"] == ""


FINDINGS = {"No findings", "Flagged, no category", "Judged in part", "Not judged"}
