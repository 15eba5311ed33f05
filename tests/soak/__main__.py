"""Run Loupe with traffic, wire faults and kills, and report what was lost or doubled.

``make soak MINUTES=60 SEED=1``. The exit code is 1 if something was lost, doubled or is stuck.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from tests.deploy.servers import Postgres, Redis
from tests.soak.installation import KILLS, PEOPLE, Installation
from tests.soak.traffic import Traffic

SAMPLE_SECONDS, INVARIANTS_SECONDS, PAUSE_SECONDS = 5.0, 60.0, 0.2
QUIET_SECONDS = 600.0  # two leases of a submission, and retries
LIVED, WARM_UP = 60.0, 30.0  # of a process whose growth is reported, in seconds
SLOPE_SECONDS = 1800.0  # a slope over less says nothing: it is reported, and fails nothing
SLOPE_MAX = 1.0  # MiB per hour
FILES_MAX = 20  # more open files than after the warm-up


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--kill-every", type=float, default=6, help="seconds; 6: some 500 an hour; 0: no kills"
    )
    parser.add_argument(
        "--disturb-every",
        type=float,
        default=60,
        help="seconds between disturbances of the queue, deploys and, with --database postgres and"
        " --redis, kills of these servers; 0: none",
    )
    parser.add_argument("--request-every", type=float, default=1, help="seconds")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--redis", action="store_true", help="queue and cache in Redis")
    parser.add_argument("--report", type=Path, default=Path("var/soak.json"))
    options = parser.parse_args()
    with ExitStack() as stack:
        is_postgres = options.database == "postgres"
        postgres = stack.enter_context(Postgres()) if is_postgres else None
        redis = stack.enter_context(Redis()) if options.redis else None
        report = run(stack.enter_context(Installation(postgres, redis)), options)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(report, indent=1))
    sys.stdout.write(f"{format_report(report)}\nThe report: {options.report}\n")
    return 1 if report["problems"] else 0


def run(installation: Installation, options: argparse.Namespace) -> dict[str, Any]:
    chance = random.Random(options.seed)
    traffic = Traffic(installation.web.port, installation.key, options.seed)
    threads = traffic.start(PEOPLE, every=options.request_every)
    stop = threading.Event()
    watch = partial(installation.watch_invariants, stop, every=INVARIANTS_SECONDS)
    checks = threading.Thread(target=watch, daemon=True)
    checks.start()
    started = time.monotonic()
    end = started + 60 * options.minutes
    next_kill = _add_pause(started, options.kill_every, chance)
    next_disturbance = _add_pause(started, options.disturb_every, chance)
    next_sample = started
    ended_alone: list[str] = []
    while (now := time.monotonic()) < end:
        ended_alone += installation.revive()
        if now >= next_kill:
            installation.kill(chance.choices(list(KILLS), list(KILLS.values()))[0], chance)
            # By the plan, so that the time of a start does not lower the rate.
            next_kill = max(now, _add_pause(next_kill, options.kill_every, chance))
        if now >= next_disturbance:
            installation.disturb(chance.choice(list(installation.disturbances)))
            next_disturbance = _add_pause(now, options.disturb_every, chance)
        if now >= next_sample:
            installation.sample(now - started)
            next_sample = now + SAMPLE_SECONDS / 2
        time.sleep(PAUSE_SECONDS)
    minutes = (time.monotonic() - started) / 60
    traffic.stop.set()
    stop.set()
    for thread in threads:
        thread.join(90)
    checks.join()
    waited, books = installation.wait_until_quiet(QUIET_SECONDS)
    installation.check_invariants()
    figures = {
        "seed": options.seed,
        "minutes": round(minutes, 1),
        "database": options.database,
        "queue": "redis" if options.redis else "database",
        "kills": installation.kills,
        "kills in all": sum(installation.kills.values()),
        "kills an hour": round(60 * sum(installation.kills.values()) / minutes),
        "disturbances": installation.disturbed,
        "requested": traffic.requested,
        "wire faults": dict(sorted(traffic.faults.items())),
        "answers": dict(sorted(traffic.answers.items())),
        "confirmed tasks": len(traffic.tasks),
        "confirmed decisions": len(traffic.decided),
        "lost tasks": len(traffic.tasks - set(books.pop("tasks"))),
        "lost decisions": len(traffic.decided - set(books["decisions"])),
        "images that two people decided": _count_doubles(books.pop("decisions")),
        "seconds until quiet": round(waited),
        "checks of the invariants": installation.checks,
        "last check": installation.last_check,
        "violations": installation.violations,
        "ended alone": ended_alone,
        "growth": installation.measure_growth(lived=LIVED, warm_up=WARM_UP),
        "tracebacks": installation.count_tracebacks(),
        **books,
    }
    return {**figures, "problems": list(find_problems(figures))}


def _add_pause(now: float, every: float, chance: random.Random) -> float:
    return now + every * chance.uniform(0.5, 1.5) if every else float("inf")


def _count_doubles(decisions: list[str]) -> int:
    """Count the images with decisions of several people. Escalated ones are left to seniors."""
    people: dict[str, set[str]] = {}
    for decision in decisions:
        name, _, review = decision.partition(" ")
        people.setdefault(review, set()).add(name)
    return sum(len(names) > 1 for names in people.values())


def find_problems(figures: dict[str, Any]) -> list[str]:
    """Return what is wrong. Tracebacks are reported and no problem: kills cause them."""
    nothing = (
        "lost tasks",
        "lost decisions",
        "duplicate assets",
        "submitted twice",
        "tasks without a request",
        "unknown without a message",
        "open",
        "classifying",
    )
    problems = [f"{name}: {figures[name]}" for name in nothing if figures[name]]
    problems += figures["violations"]
    if not figures["last check"].endswith("invariants hold."):
        problems.append(f"the last check: {figures['last check']}")
    for name in ("web", "worker"):
        # A server may end when one of its processes was killed: a service manager restarts it.
        ends, kills = figures["ended alone"].count(name), figures["kills"][f"process of {name}"]
        if ends > kills:
            problems.append(f"{name} ended {ends} times, {kills} of its processes were killed")
    problems += [
        f"{count} × {name}" for name, count in figures["answers"].items() if name[-3:] == "500"
    ]
    if not figures["confirmed tasks"] or not figures["confirmed decisions"]:
        problems.append("no task or no decision was confirmed: nothing was tried")
    for row in figures["growth"]:
        first, highest, _ = row["files"]
        if highest - first > FILES_MAX:
            problems.append(f"{row['process']} opened {highest - first} more files")
        if row["seconds"] >= SLOPE_SECONDS and row["MiB per hour"] > SLOPE_MAX:
            problems.append(f"{row['process']} grows by {row['MiB per hour']} MiB per hour")
    return problems


def format_report(report: dict[str, Any]) -> str:
    lines = []
    for name, value in report.items():
        if isinstance(value, list) and value:
            lines += [f"{name}:", *(f"  {item}" for item in value)]
        elif isinstance(value, dict):
            lines.append(f"{name}: " + (", ".join(f"{k} {v}" for k, v in value.items()) or "none"))
        else:
            lines.append(f"{name}: {'none' if value == [] else value}")
    return "\n".join([*lines, "FAIL" if report["problems"] else "PASS"])


if __name__ == "__main__":
    sys.exit(main())
