"""The files of deploy/: structure, and agreement with docs/operations.md and with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from tests.deploy.servers import OPERATIONS, ROOT, documented_command

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
UNITS = sorted((DEPLOY / "systemd").iterdir())
SERVICE_UNITS = [path for path in UNITS if path.suffix == ".service"]
# Hosts of an installation: this machine, services of compose.yaml, examples of names and buckets.
OWN_HOSTS = r"127\.0\.0\.1|storage:|loupe;?$|\$host|loupe\.example|loupe-images\.s3\."
FILES = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()]


def read_instructions(name: str) -> list[tuple[str, str]]:
    """Return (instruction, arguments) of a Containerfile."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / name).read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word
    ]


def read_unit(path: Path) -> dict[str, list[str]]:
    """Return key → values of a unit file."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, sign, value = line.partition("=")
            assert sign, f"{path.name}: {line}"
            found.setdefault(name, []).append(value)
    return found


# --- All files ---


def test_files_contain_no_address_to_download_from() -> None:
    urls = {
        (path.name, url)
        for path in FILES
        for url in re.findall(r"\b(?:https?|ftp)://[^\s\"')]+", path.read_text())
        if not re.match(rf"https?://({OWN_HOSTS})", url)
    }
    assert urls == set()


def test_every_file_is_named_in_the_operations_page() -> None:
    missing = [path.name for path in FILES if path.name.split("@")[0] not in OPERATIONS]

    assert missing == []


@pytest.mark.parametrize("name", ["Containerfile", "Caddyfile", "compose.yaml"])
def test_untried_file_says_so(name: str) -> None:
    assert "NOT TRIED" in (DEPLOY / name).read_text()


@pytest.mark.parametrize(
    ("unit", "command"),
    [("loupe-web.service", ["loupe", "web"]), ("loupe-worker.service", ["loupe", "qworker"])],
)
def test_units_run_the_documented_commands(unit: str, command: list[str]) -> None:
    (started,) = read_unit(DEPLOY / "systemd" / unit)["ExecStart"]

    assert started == f"/opt/loupe/bin/{' '.join(command)}"
    assert f"| `{' '.join(command)}` |" in OPERATIONS


def test_containers_run_the_documented_commands() -> None:
    assert yaml.safe_load(dict(read_instructions("Containerfile"))["CMD"]) == ["loupe", "web"]
    assert "command" not in SERVICES["web"]
    assert SERVICES["worker"]["command"] == ["loupe", "qworker"]
    assert documented_command("loupe web") == ["loupe", "web"]


def test_documented_commands_exist() -> None:
    """Every `loupe NAME` of the page, in blocks and in the text."""
    named = set(re.findall(r"(?:`|bin/|-u loupe |^)loupe ([a-z_]+)", OPERATIONS, re.MULTILINE))

    assert {"setup", "check", "make_settings", "web", "qworker"} <= named
    assert named - set(get_commands()) == set()


# --- Containerfile ---


def test_image_runs_as_a_numbered_user_with_a_health_check() -> None:
    instructions = read_instructions("Containerfile")
    words = [word for word, _ in instructions]
    last = instructions[len(words) - 1 - words[::-1].index("FROM") :]

    assert words.count("FROM") == 2  # the build tools stay behind
    assert ("USER", "10001:10001") in last
    assert "HEALTHCHECK" in [word for word, _ in last]
    assert set(words) <= {
        *("ARG", "CMD", "COPY", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL"),
        *("USER", "VOLUME", "WORKDIR"),
    }


def test_image_installs_pinned_packages_and_the_wheel_alone() -> None:
    runs = " ".join(rest for word, rest in read_instructions("Containerfile") if word == "RUN")

    assert "--require-hashes -r requirements-production.txt" in runs
    assert "--no-index --no-deps loupe_desk-*.whl" in runs
    assert (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()[-2:] == ["*", "!dist"]


# --- compose.yaml ---


@pytest.mark.parametrize("name", SERVICES)
def test_container_has_a_read_only_root_and_no_privileges(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    assert not [each for each in service.get("volumes", []) if "docker.sock" in each]


@pytest.mark.parametrize("name", SERVICES)
def test_container_has_a_health_check_or_listens_on_no_port(name: str) -> None:
    check = SERVICES[name].get("healthcheck")
    if name == "web":
        assert check is None  # that of the image
    elif name in ("worker", "init", "backup", "bucket"):
        assert check == {"disable": True}
    else:
        assert check["test"][0] == "CMD"


def test_only_the_proxy_publishes_ports_and_the_database_reaches_no_other_network() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    assert COMPOSE["networks"]["back"] == {"internal": True}
    for name in ("database", "queue", "storage"):
        assert SERVICES[name]["networks"] == ["back"]


def test_containers_start_in_order() -> None:
    for name in ("web", "worker"):
        conditions = SERVICES[name]["depends_on"]
        assert conditions["init"] == {"condition": "service_completed_successfully"}
        assert conditions["database"] == {"condition": "service_healthy"}
    assert SERVICES["init"]["command"] == ["loupe", "setup"]
    assert SERVICES["init"]["restart"] == "no"


def test_only_init_logs_in_as_the_owner_of_the_tables() -> None:
    having = [name for name, each in SERVICES.items() if "owner.env" in each.get("env_file", [])]

    assert having == ["init"]
    assert (
        "./database.sh:/docker-entrypoint-initdb.d/loupe.sh:ro" in SERVICES["database"]["volumes"]
    )
    assert "postgres://loupe_app:password@database/loupe" in OPERATIONS


def test_named_volumes_networks_and_services_exist() -> None:
    for service in SERVICES.values():
        for each in service.get("volumes", []):
            source = each.partition(":")[0]
            assert source.startswith("./") or source in COMPOSE["volumes"]
        assert set(service.get("depends_on", {})) <= set(SERVICES)


def test_secrets_come_from_files_that_are_not_in_the_repository() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    named = {each for service in SERVICES.values() for each in service.get("env_file", [])}

    assert "environment" not in {key for service in SERVICES.values() for key in service}
    assert not re.search(r"(?i)(password|secret|_key)\w*\s*[:=]\s*\S", text)
    assert named == {"loupe.env", "owner.env", "database.env", "storage.env"}
    for name in named:
        assert f"deploy/{name}" in (ROOT / ".gitignore").read_text()
        assert f"deploy/{name}" in OPERATIONS


# --- systemd ---


@pytest.mark.parametrize("path", SERVICE_UNITS, ids=lambda path: path.name)
def test_unit_is_hardened(path: Path) -> None:
    unit = read_unit(path)

    assert unit["User"] == ["loupe"]
    for name in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictNamespaces"):
        assert unit[name] == ["yes"], name
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["CapabilityBoundingSet"] == [""]
    assert "NOT TRIED" in path.read_text()


@pytest.mark.parametrize("name", ["loupe-web.service", "loupe-worker.service"])
def test_servers_stop_in_order_and_always_start_again(name: str) -> None:
    unit = read_unit(DEPLOY / "systemd" / name)

    assert unit["KillMode"] == ["mixed"]
    assert unit["TimeoutStopSec"] == ["90"]
    assert unit["Restart"] == ["always"]
    assert unit["StartLimitIntervalSec"] == ["0"]


def copy_units(folder: Path) -> list[str]:
    """Copy the units with programs that exist, as systemd-analyze wants."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "loupe"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in UNITS:
        text = path.read_text().replace("/opt/loupe/bin", str(folder / "bin"))
        (folder / path.name.replace("@.", "@decisions.")).write_text(text)
    return [str(each) for each in sorted(folder.iterdir()) if each.is_file()]


# Containers, in which .ci/run mostly runs, have no systemd.
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed; containers have no systemd",
)


@needs_systemd
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    checked = subprocess.run(
        ["systemd-analyze", "verify", *copy_units(tmp_path)], capture_output=True, text=True
    )

    about = [
        line for line in checked.stderr.splitlines() if str(tmp_path) in line or "loupe-" in line
    ]
    assert about == []


@needs_systemd
@pytest.mark.parametrize("path", SERVICE_UNITS, ids=lambda path: path.name)
def test_systemd_rates_the_units_exposure_as_low(tmp_path: Path, path: Path) -> None:
    files = copy_units(tmp_path)
    name = path.name.replace("@.", "@decisions.")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=30", name],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )

    assert f"{tmp_path}/{name}" in files
    assert rated.returncode == 0, rated.stdout[-1500:] + rated.stderr


# --- Caddy ---


def test_caddyfile_is_balanced_and_agrees_with_nginx() -> None:
    caddy = re.sub(r"\s#.*|^#.*", "", (DEPLOY / "Caddyfile").read_text(), flags=re.MULTILINE)
    nginx = (DEPLOY / "nginx.conf").read_text()

    assert caddy.count("{") == caddy.count("}")
    assert "reverse_proxy 127.0.0.1:8000" in caddy
    for megabytes, directive in (("202", "max_size 202MiB"), ("30", "max_size 30MiB")):
        assert f"client_max_body_size {megabytes}m;" in nginx
        assert directive in caddy
    assert "response_header_timeout 120s" in caddy
    assert "proxy_read_timeout 120s;" in nginx
    assert "request_buffers" in caddy


# .ci/run drives nginx. The Caddyfile is an alternative, whose package it does not install.
@pytest.mark.skipif(
    shutil.which("caddy") is None,
    reason="caddy is not installed; it is an alternative to nginx, which is tested",
)
def test_caddy_accepts_its_file() -> None:
    command = ["caddy", "validate", "--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile")]
    subprocess.run(command, check=True, capture_output=True)
