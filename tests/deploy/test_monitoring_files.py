"""The shipped dashboard and alert rules: valid queries over metrics that Loupe exports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from django.test import Client

from tests.deploy.servers import OPERATIONS, ROOT

RULES: Path = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD: Path = ROOT / "deploy" / "grafana" / "loupe.json"
OF_PROMETHEUS = {"up"}
# Exported on PostgreSQL only; a test of its own reads them there.
OF_POSTGRESQL = {"loupe_database_connections", "loupe_database_connections_limit"}
SUFFIXES = ("_total", "_bucket", "_sum", "_count", "")


def load_rules() -> list[dict[str, Any]]:
    content = yaml.safe_load(RULES.read_text())
    assert set(content) == {"groups"}
    return [rule for group in content["groups"] for rule in group["rules"]]


def load_panels() -> list[dict[str, Any]]:
    return [
        panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"
    ]


def find_names(expression: Any) -> Iterator[str]:
    """Yield the names of the metrics in a parsed query."""
    names: list[str] = []
    _visit(expression, names)
    yield from names


def _visit(node: Any, names: list[str]) -> None:
    if isinstance(node, promql_parser.VectorSelector):
        names.append(node.name)
    for part in ("expr", "lhs", "rhs", "vector_selector", "vs"):
        if (child := getattr(node, part, None)) is not None:
            _visit(child, names)
    for child in getattr(node, "args", ()):
        _visit(child, names)


def list_queries() -> list[tuple[str, str]]:
    found = [(rule["alert"], rule["expr"]) for rule in load_rules()]
    for panel in load_panels():
        found += [(panel["title"], target["expr"]) for target in panel["targets"]]
    return found


@pytest.fixture
def exported(db: None, settings: Any) -> set[str]:
    """Return the names of all families that /metrics announces."""
    settings.METRICS_TOKEN, settings.METRICS_ENABLED = "t" * 10, True
    answer = Client().get("/metrics", headers={"Authorization": f"Bearer {'t' * 10}"})
    names = set(re.findall(r"^# TYPE (\w+) ", answer.content.decode(), re.MULTILINE))
    return {name.removesuffix("_total") for name in names}


def test_every_query_is_valid_and_reads_metrics_that_exist(exported: set[str]) -> None:
    known = exported | OF_PROMETHEUS | OF_POSTGRESQL
    read = set()
    for title, query in list_queries():
        names = list(find_names(promql_parser.parse(query)))
        assert names, f"{title} reads nothing"
        for name in names:
            families = {name.removesuffix(suffix) for suffix in SUFFIXES}
            assert families & known, f"{title} reads {name}, which Loupe does not export"
            read |= families & known
    assert len(read) > 30


def test_an_invalid_query_is_refused_by_this_test() -> None:
    with pytest.raises(ValueError, match="parenthesis"):
        promql_parser.parse("sum(rate(loupe_arrivals_total[5m])")
    assert list(find_names(promql_parser.parse("max(rate(loupe_a_total[5m])) > 2 * loupe_b"))) == [
        "loupe_a_total",
        "loupe_b",
    ]


@pytest.mark.parametrize("rule", load_rules(), ids=lambda rule: rule["alert"])
def test_rule_has_the_structure_of_prometheus_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Loupe[A-Za-z]+", rule["alert"])
    if "for" in rule:
        promql_parser.parse_duration(rule["for"])
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
    assert f"\n#### {rule['alert']}\n" in OPERATIONS


def test_alert_names_are_unique() -> None:
    names = [rule["alert"] for rule in load_rules()]

    assert len(names) == len(set(names)) > 15


def test_dashboard_has_the_structure_of_grafana() -> None:
    board = json.loads(DASHBOARD.read_text())

    assert (board["uid"], board["title"]) == ("loupe", "Loupe")
    assert board["templating"]["list"][0]["query"] == "prometheus"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) > 20
    for panel in load_panels():
        assert panel["targets"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters))
