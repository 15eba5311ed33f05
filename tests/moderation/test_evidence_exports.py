"""Exports of images and of evidence, in all formats, over HTTP."""

from __future__ import annotations

import csv
import html
import importlib.util
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from generation.models import ApiKey, Asset, Source
from moderation.models import Classification, Decision, Label, Review, Verdict
from moderation.services import decisions
from moderation.services.exports import parquet
from moderation.services.exports.formats import iter_csv
from moderation.services.exports.tables import build_decision_table, build_image_table

Factory = Callable[..., Any]
ClientOf = Callable[[User], Client]

FINISHED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LORAS = [{"model_name": "=lora", "strength": 0.8}]
RUNS = [
    {
        "classifier": "nudenet",
        "version": "3.4",
        "status": "done",
        "error": "",
        "flagged": None,
        "score": None,
        "covers": {"explicit": "full"},
        "cost": 0.0,
        "duration_ms": 41,
        "finished_at": "2026-01-02T03:04:05.000+00:00",
        "labels": [
            {"category": "explicit.nudity", "confidence": 87.5, "box": [0.1, 0.2, 0.3, 0.4]},
            {"category": "violence.weapons", "confidence": None, "box": None},
        ],
    },
    {
        "classifier": "novita",
        "version": "1",
        "status": "done",
        "error": "",
        "flagged": True,
        "score": 12.25,
        "covers": {},
        "cost": 0.0015,
        "duration_ms": None,
        "finished_at": None,
        "labels": [],
    },
    {
        "classifier": "scenario",
        "version": "1",
        "status": "failed",
        "error": "@it did not answer",
        "flagged": None,
        "score": None,
        "covers": {},
        "cost": 0.0,
        "duration_ms": None,
        "finished_at": None,
        "labels": [],
    },
]


def read_bytes(response: Any) -> bytes:
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content)


def read_csv(response: Any) -> list[dict[str, str]]:
    text = read_bytes(response).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def read_jsonl(response: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read_bytes(response).decode().split("\n") if line]


def read_parquet(response: Any) -> pyarrow.Table:
    return pyarrow.parquet.read_table(io.BytesIO(read_bytes(response)))


def store_runs(asset: Asset) -> None:
    for run in RUNS:
        fields: dict[str, Any] = {name: value for name, value in run.items() if name != "labels"}
        fields |= {
            "cost": Decimal(str(run["cost"])),
            "score": None if run["score"] is None else Decimal(str(run["score"])),
            "finished_at": FINISHED if run["finished_at"] else None,
        }
        row = Classification.objects.create(asset=asset, **fields)
        Label.objects.bulk_create(Label(classification=row, **label) for label in run["labels"])


def decide(review: Review, user: User, verdict: Verdict, **fields: Any) -> Decision:
    decisions.claim(review=review, user=user)
    return decisions.decide(review=review, user=user, verdict=verdict, **fields)


@pytest.fixture
def judged(make_review: Factory, make_request: Factory, lead: User) -> Review:
    """Return a generated image with the results of three classifiers."""
    request = make_request(
        prompt="=1+1",
        negative_prompt="@cmd",
        loras=LORAS,
        clip_skip=2,
        cost=Decimal("0.004"),
        requested_by=lead,
        sampler_name="Euler a",
    )
    review: Review = make_review(source=Source.TXT2IMG, request=request, position=0)
    Review.objects.filter(pk=review.pk).update(requested_by=lead)
    Classification.objects.filter(asset=review.asset).delete()
    store_runs(review.asset)
    return review


def test_csv_with_evidence_has_every_result_and_all_parameters(
    judged: Review, moderator: User, senior: User, client_of: ClientOf
) -> None:
    decide(judged, moderator, Verdict.APPROVE)

    (row,) = read_csv(client_of(senior).get("/exports/decisions.csv?evidence=1"))

    assert json.loads(row["classifications"]) == RUNS
    assert row["labels"] == "nudenet: explicit.nudity 87.50; nudenet: violence.weapons"
    assert row["without_result"] == "scenario"
    assert row["classification_cost"] == "0.001500"
    assert (row["steps"], row["guidance_scale"], row["sampler"]) == ("20", "7.5", "Euler a")
    assert (row["requested_width"], row["requested_height"]) == ("512", "512")
    assert json.loads(row["loras"]) == LORAS
    assert row["request_cost"] == "0.004000"
    asset = judged.asset
    assert (row["width"], row["height"]) == (str(asset.width), str(asset.height))
    assert (row["bytes"], row["image_type"]) == (str(asset.size), asset.image_type)
    assert (row["requested_by"], row["api_key"]) == ("lead", "")
    parameters = json.loads(row["parameters"])
    assert parameters["request"]["clip_skip"] == 2
    assert parameters["request"]["loras"] == LORAS
    assert parameters["extra"]["response_image_type"] == "png"
    assert not {"prompt", "negative_prompt"} & set(parameters["request"])


def test_csv_without_evidence_has_the_same_columns_as_before_and_one_query(
    judged: Review,
    moderator: User,
    senior: User,
    client_of: ClientOf,
    django_assert_num_queries: Any,
) -> None:
    decide(judged, moderator, Verdict.APPROVE)

    for query in ("", "?evidence=0", "?evidence="):
        (row,) = read_csv(client_of(senior).get(f"/exports/decisions.csv{query}"))
        assert list(row)[-1] == "hash"
    with django_assert_num_queries(1):
        list(iter_csv(build_decision_table(Decision.objects.all())))


@pytest.mark.parametrize("images", [1, 7])
def test_evidence_takes_a_fixed_number_of_queries(
    make_review: Factory, django_assert_num_queries: Any, images: int
) -> None:
    for _ in range(images):
        store_runs(make_review().asset)

    # Rows, decisions in effect, runs, labels. No image has a request.
    with django_assert_num_queries(4):
        list(iter_csv(build_image_table(Review.objects.all(), evidence=True)))


def test_text_in_evidence_is_escaped_in_csv_only(
    make_review: Factory, senior: User, client_of: ClientOf
) -> None:
    key, _ = ApiKey.make(name="=cmd()", owner=senior, scopes=["generate"])
    review = make_review(source=Source.API)
    Asset.objects.filter(pk=review.asset_id).update(api_key=key)
    senior.username = "@senior"
    senior.save()
    Review.objects.filter(pk=review.pk).update(requested_by=senior)
    run = Classification.objects.create(
        asset=review.asset, classifier="-x", version="1", status="done"
    )
    Label.objects.create(classification=run, category="alcohol.use", confidence=None)

    (row,) = read_csv(client_of(senior).get("/exports/images.csv?evidence=1"))
    (typed,) = read_jsonl(client_of(senior).get("/exports/images.jsonl?evidence=1"))

    assert (row["api_key"], row["requested_by"]) == ("'=cmd()", "'@senior")
    assert row["labels"] == "'-x: alcohol.use"
    assert (typed["api_key"], typed["requested_by"]) == ("=cmd()", "@senior")
    assert typed["labels"] == ["-x: alcohol.use"]


def test_jsonl_has_typed_values(
    judged: Review, moderator: User, senior: User, client_of: ClientOf
) -> None:
    decision = decide(
        judged,
        moderator,
        Verdict.REJECT,
        categories=["violence.weapons", "alcohol.use"],
        seconds=Decimal("2.5"),
    )

    response = client_of(senior).get("/exports/decisions.jsonl?evidence=1")

    assert response["Content-Type"].startswith("application/jsonl")
    assert response["Content-Disposition"].endswith('.jsonl"')
    (row,) = read_jsonl(response)
    assert (row["sequence"], row["seconds"], row["by_policy"]) == (1, 2.5, False)
    assert row["categories"] == ["alcohol.use", "violence.weapons"]
    assert row["category_names"] == ["Alcohol Use", "Weapons"]
    assert row["decided_at"] == decision.created_at.isoformat(timespec="milliseconds")
    assert (row["note"], row["batch"], row["headline_confidence"]) == (None, None, None)
    assert (row["prompt"], row["negative_prompt"]) == ("=1+1", "@cmd")
    assert row["classifications"] == RUNS
    assert row["loras"] == LORAS
    assert row["parameters"]["request"]["clip_skip"] == 2
    assert row["decision"] == str(decision.uuid)


def test_parquet_has_types_and_the_rows_of_jsonl(
    judged: Review, make_review: Factory, moderator: User, senior: User, client_of: ClientOf
) -> None:
    decision = decide(judged, moderator, Verdict.REJECT, categories=["violence.weapons"])
    decide(make_review(), senior, Verdict.APPROVE)
    client = client_of(senior)

    table = read_parquet(client.get("/exports/decisions.parquet?evidence=1"))

    types = {field.name: field.type for field in table.schema}
    assert types["sequence"] == types["seed"] == types["steps"] == pyarrow.int64()
    assert types["by_policy"] == pyarrow.bool_()
    assert types["decided_at"] == pyarrow.timestamp("us", tz="UTC")
    assert types["headline_confidence"] == types["request_cost"] == pyarrow.float64()
    assert types["categories"] == types["labels"] == pyarrow.list_(pyarrow.string())
    assert types["decision"] == types["parameters"] == pyarrow.string()
    rows, expected = (
        table.to_pylist(),
        read_jsonl(client.get("/exports/decisions.jsonl?evidence=1")),
    )
    assert rows[0]["decided_at"] == decision.created_at
    assert json.loads(rows[0]["parameters"]) == expected[0]["parameters"]
    first, *_ = rows[0]["classifications"]
    assert (first["finished_at"], dict(first["covers"])) == (FINISHED, {"explicit": "full"})
    assert [label["confidence"] for label in first["labels"]] == [87.5, None]
    assert rows[1]["classifications"] is None
    others = set(types) - {"decided_at", "parameters", "classifications"}
    for row, typed in zip(rows, expected, strict=True):
        assert {name: row[name] for name in others} == {name: typed[name] for name in others}


def test_parquet_is_written_in_row_groups(
    make_review: Factory, senior: User, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviews = [make_review() for _ in range(3)]
    monkeypatch.setattr("moderation.services.exports.tables.BATCH_ROWS", 1)
    monkeypatch.setattr("moderation.services.exports.parquet.GROUP_ROWS", 2)

    file = read_bytes(client_of(senior).get("/exports/images.parquet"))

    found = pyarrow.parquet.ParquetFile(io.BytesIO(file))
    groups = [found.metadata.row_group(at).num_rows for at in range(found.num_row_groups)]
    assert groups == [2, 1]
    assert found.read()["asset"].to_pylist() == [str(review.asset.uuid) for review in reviews]


def test_empty_exports_are_valid_files(senior: User, client_of: ClientOf) -> None:
    client = client_of(senior)

    assert read_csv(client.get("/exports/images.csv?evidence=1")) == []
    assert read_jsonl(client.get("/exports/images.jsonl?evidence=1")) == []
    assert read_parquet(client.get("/exports/images.parquet?evidence=1")).num_rows == 0


def test_images_export_has_undecided_images_and_the_decision_in_effect(
    make_review: Factory, moderator: User, senior: User, client_of: ClientOf
) -> None:
    waiting, rejected, reversed_one, policys = (make_review() for _ in range(4))
    Review.objects.filter(pk=waiting.pk).update(
        top_category="alcohol.use", risk=50, found=64 | 8, reason="=why"
    )
    kept = decide(rejected, moderator, Verdict.REJECT, categories=["violence.weapons"], note="-no")
    undone = decide(reversed_one, moderator, Verdict.APPROVE)
    decisions.reverse(decision=undone, user=moderator)
    decide(policys, senior, Verdict.ESCALATE, note="?")

    rows = read_csv(client_of(senior).get("/exports/images.csv"))

    assert [row["asset"] for row in rows] == [
        str(review.asset.uuid) for review in (waiting, rejected, reversed_one, policys)
    ]
    assert [row["status"] for row in rows] == ["pending", "rejected", "pending", "escalated"]
    assert [row["verdict"] for row in rows] == ["", "reject", "", "escalate"]
    first, second = rows[0], rows[1]
    assert (first["headline"], first["headline_confidence"]) == ("alcohol.use", "")
    assert (first["found"], first["why"]) == ("violence alcohol", "'=why")
    assert (first["by_policy"], first["decided_at"], first["reviewer"]) == ("", "", "")
    assert (second["decision"], second["reviewer"], second["by_policy"]) == (
        str(kept.uuid),
        "moderator",
        "no",
    )
    assert (second["categories"], second["category_names"]) == ("violence.weapons", "Weapons")
    assert second["note"] == "'-no"
    assert second["decided_at"] == kept.created_at.isoformat(timespec="milliseconds")


def test_images_with_differing_opinions_have_no_decision_in_effect(
    make_review: Factory, moderator: User, senior: User, client_of: ClientOf
) -> None:
    review = make_review()
    decide(review, moderator, Verdict.APPROVE)
    Review.objects.filter(pk=review.pk).update(second_opinion=Review.SecondOpinion.WANTED)
    decide(review, senior, Verdict.REJECT, categories=["violence.weapons"])

    (row,) = read_csv(client_of(senior).get("/exports/images.csv"))

    assert (row["status"], row["second_opinion"], row["verdict"]) == ("escalated", "disagreed", "")
    assert read_csv(client_of(senior).get("/exports/images.csv?verdict=reject")) == []


def test_image_filters_narrow_the_export(
    make_review: Factory, moderator: User, senior: User, client_of: ClientOf
) -> None:
    waiting, approved, rejected, escalated = (make_review() for _ in range(4))
    decide(approved, moderator, Verdict.APPROVE)
    decide(rejected, senior, Verdict.REJECT, categories=["violence.weapons"])
    decide(escalated, moderator, Verdict.ESCALATE, note="?")
    Review.objects.filter(pk=waiting.pk).update(created_at=timezone.now() - timedelta(days=9))
    today = timezone.now().date()
    client = client_of(senior)

    for query, expected in {
        "status=undecided": [waiting, escalated],
        "status=pending": [waiting],
        "status=approved": [approved],
        "verdict=reject": [rejected],
        "verdict=escalate": [escalated],
        "category=violence": [rejected],
        "category=alcohol": [],
        "reviewer=moderator": [approved, escalated],
        "by=person&status=undecided": [escalated],
        "by=policy": [],
        f"start={today}": [approved, rejected, escalated],
        f"end={today - timedelta(days=2)}": [waiting],
    }.items():
        rows = read_csv(client.get(f"/exports/images.csv?{query}"))
        assert [row["asset"] for row in rows] == [str(review.asset.uuid) for review in expected], (
            query
        )


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_unknown_parameters_are_refused_in_every_export(
    senior: User, client_of: ClientOf, suffix: str
) -> None:
    client = client_of(senior)
    known = "Filters: start, end, verdict, delivered, category, reviewer, by"

    decided = client.get(f"/exports/decisions.{suffix}?status=pending")
    assert decided.status_code == 400
    assert f"There is no filter status. {known}. Options: evidence." in decided.content.decode()
    image = client.get(f"/exports/images.{suffix}?undecided=1")
    assert image.status_code == 400
    assert f"no filter undecided. {known}, status. Options: evidence." in image.content.decode()
    for query in ("status=maybe", "evidence=maybe", "evidence=on", "start=x"):
        assert client.get(f"/exports/images.{suffix}?{query}").status_code == 400
    assert client.get("/decisions/?evidence=1").context["page"] == []


@pytest.mark.parametrize("path", ["images.csv", "images.parquet", "decisions.jsonl"])
def test_new_exports_need_the_permission(
    moderator: User, auditor: User, client_of: ClientOf, client: Client, path: str
) -> None:
    assert client.get(f"/exports/{path}").status_code == 302
    assert client_of(moderator).get(f"/exports/{path}").status_code == 403
    response = client_of(auditor).get(f"/exports/{path}")
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]


def test_parquet_without_its_package_returns_501_and_names_it(
    senior: User, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        parquet.importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find(name)
    )
    client = client_of(senior)

    response = client.get("/exports/decisions.parquet")

    assert response.status_code == 501
    assert "pip install 'pyarrow" in response.content.decode()
    assert response["Content-Type"].startswith("text/plain")
    assert client.get("/exports/decisions.jsonl").status_code == 200
    page = client.get("/decisions/").content.decode()
    assert "/exports/decisions.parquet" not in page
    assert "needs the package pyarrow" in page
    with pytest.raises(CommandError, match="pyarrow"):
        call_command("export_images", output=tmp_path / "x.parquet", format="parquet")
    assert list(tmp_path.iterdir()) == []


def test_commands_write_what_the_urls_return(
    judged: Review, moderator: User, senior: User, client_of: ClientOf, tmp_path: Path
) -> None:
    decide(judged, moderator, Verdict.APPROVE)
    client = client_of(senior)
    for kind in ("decisions", "images"):
        for suffix in ("csv", "jsonl", "parquet"):
            path = tmp_path / f"{kind}.{suffix}"
            call_command(f"export_{kind}", output=path, format=suffix, evidence=True)
            expected = read_bytes(client.get(f"/exports/{kind}.{suffix}?evidence=1"))
            assert path.read_bytes() == expected
    call_command("export_images", output=tmp_path / "open.csv", status="undecided")
    assert len((tmp_path / "open.csv").read_text().splitlines()) == 1
    with pytest.raises(CommandError, match="--status"):
        call_command("export_images", output=tmp_path / "x", status="open")
    with pytest.raises(CommandError, match="xlsx"):
        call_command("export_images", "--format=xlsx")


def test_page_of_the_record_offers_exports_with_its_filters(
    senior: User, moderator: User, client_of: ClientOf
) -> None:
    page = client_of(senior).get("/decisions/?verdict=reject&reviewer=%22%3E%3Cb%3E&by=").content
    text = page.decode()

    for path in ("decisions.csv", "decisions.jsonl", "decisions.parquet", "images.csv"):
        assert f'formaction="/exports/{path}"' in text
    assert text.count('<input type="hidden" name="verdict" value="reject">') == 2
    assert text.count('<input type="hidden" name="reviewer" value="&quot;&gt;&lt;b&gt;">') == 2
    assert '<input type="hidden" name="by"' not in text
    assert text.count('name="evidence" value="1"') == 2
    assert '<option value="undecided">Undecided</option>' in text
    assert "formaction" not in client_of(moderator).get("/decisions/").content.decode()
    assert "formaction" not in client_of(senior).get("/decisions/?start=x").content.decode()


def test_last_week_filters_from_monday_to_sunday_and_keeps_other_filters(
    client_of: Callable[[User], Client], auditor: User
) -> None:
    client = client_of(auditor)
    page = client.get("/decisions/", {"verdict": "reject"}).content.decode()
    (query,) = re.findall(r'href="(\?[^"]*)">Last week<', page)

    answer = client.get("/decisions/" + html.unescape(query))

    found = answer.context["form"].cleaned_data
    assert (found["start"].isoweekday(), found["end"] - found["start"]) == (1, timedelta(days=6))
    assert found["verdict"] == "reject"
    assert 'aria-current="true">Last week<' in answer.content.decode()
