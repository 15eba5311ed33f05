"""The look-up of known vulnerabilities (.ci/audit) with reports of a stand-in for pip-audit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.config.test_install import pins
from tests.deploy.servers import ROOT

CLEAN = {"name": "django", "version": "5.2.9", "vulns": []}
KNOWN = {"name": "pillow", "version": "9.0.0", "vulns": [{"id": "PYSEC-2023-175"}]}
SKIPPED = {"name": "redis", "skip_reason": "Dependency not found"}


def audit(tmp_path: Path, output: str, **variables: str) -> subprocess.CompletedProcess[str]:
    report = tmp_path / "report"
    report.write_text(output)
    stand_in = f"import sys; sys.stdout.write(open({str(report)!r}).read())"
    return subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "audit"), sys.executable, "-c", stand_in],
        env=variables,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("packages", "code", "text"),
    [
        ([CLEAN], 0, "1 packages looked up, 0 with a known vulnerability."),
        ([CLEAN, KNOWN], 1, "pillow 9.0.0: PYSEC-2023-175"),
        ([CLEAN, SKIPPED], 0, "NOT TRIED for 1 of 2 packages"),
        ([SKIPPED], 0, "NOT TRIED for 1 of 1 packages"),
    ],
)
def test_report_states_what_was_looked_up(
    tmp_path: Path, packages: list[dict[str, Any]], code: int, text: str
) -> None:
    done = audit(tmp_path, json.dumps({"dependencies": packages}))

    assert done.returncode == code, done.stderr
    assert text in done.stdout
    assert ("looked up" in done.stdout) == (packages != [SKIPPED])


@pytest.mark.parametrize("output", ["", "connection refused", json.dumps({"dependencies": []})])
def test_missing_answer_is_never_a_pass_where_an_audit_is_required(
    tmp_path: Path, output: str
) -> None:
    assert audit(tmp_path, output).returncode == 0
    required = audit(tmp_path, output, REQUIRE_AUDIT="1")

    assert required.returncode == 1
    assert "looked up" not in required.stdout


def test_unknown_package_fails_where_an_audit_is_required(tmp_path: Path) -> None:
    output = json.dumps({"dependencies": [CLEAN, SKIPPED]})

    assert audit(tmp_path, output, REQUIRE_AUDIT="1").returncode == 1


def test_list_of_packages_names_every_pin_with_its_hashes(tmp_path: Path) -> None:
    """Run the command of `make sbom`."""
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    command = re.search(r"\$\(BIN\)/cyclonedx-py (requirements .*) --output-file", makefile)
    assert command is not None
    target = tmp_path / "sbom.json"
    program = [sys.executable, "-m", "cyclonedx_py", *command[1].split()]
    subprocess.run(
        [*program, "--output-file", str(target)], cwd=ROOT, check=True, capture_output=True
    )

    listed = json.loads(target.read_text())["components"]
    versions = {each["name"]: each["version"] for each in listed}
    assert versions == pins("requirements-production.txt")
    assert all(reference["hashes"] for each in listed for reference in each["externalReferences"])
