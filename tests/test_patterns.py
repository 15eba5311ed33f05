"""Every regular expression of Loupe with long, repetitive texts; the time must grow linearly.

The tests measure CPU time of this thread, the best of several runs, at n and at 4 n characters. A
linear search takes 4 times as long, a quadratic one 16 times. A CPU timer ends a search that takes
too long.
"""

from __future__ import annotations

import ast
import gc
import importlib
import json
import logging
import pkgutil
import re
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.apps import apps
from django.conf import settings
from django.core.validators import RegexValidator
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

import config
import generation
import moderation
from config.log_filters import ARGUMENT_MAX, MESSAGE_MAX, RedactSecrets
from config.middleware import PATH_MAX
from generation.services.polling import make_storable
from generation.wire.secrets import without_secrets

SMALL, LARGE = 2 * 1024, 8 * 1024
GROWTH_MAX = 9  # between 4, which is linear, and 16, which is quadratic
NOISE = 0.005  # seconds of CPU time below which nothing is too slow
BUDGET = 0.25  # seconds of CPU time after which a search is aborted
METHODS = {"match", "search", "fullmatch", "split", "findall", "finditer", "sub", "subn"}
EVERY = {"search", "fullmatch"}
# A route of Django; config.middleware refuses paths that are long enough to matter.
BOUNDED_ROUTES = ("r/<path:content_type_id>/<path:object_id>/",)
UNITS = (
    "a",
    "A",
    "0",
    " ",
    "\t",
    "\n",
    "/",
    ":",
    "://",
    "&",
    "%",
    "@",
    "=",
    "?",
    "?a=",
    "#",
    "-",
    "_",
    ".",
    ",",
    '"',
    "'",
    "\\",
    "[",
    "]",
    "{",
    "<",
    "é",
    "a-",
    "a.",
    "a1",
    "http://",
    "https://a",
    "X-Amz-a",
    "X-Amz-a=",
    "Bearer ",
    "api_key=",
    "/webhooks/novita/",
    "/webhooks/a",
    "Signature=",
    "data:image/a",
    "a@b.",
    "[a]",
    '"a',
    "0.",
    "-a",
)
ENDS = ("", "\0")


class TooSlowError(Exception):
    pass


def _modules() -> Iterator[str]:
    for package in (config, generation, moderation):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations." not in info.name and not info.name.endswith("__main__"):
                yield info.name


@dataclass(frozen=True, slots=True)
class Use:
    """A pattern and the methods of ``re`` that use it."""

    place: str
    pattern: re.Pattern[str]
    methods: tuple[str, ...]

    def runs(self, text: str) -> list[Any]:
        return [
            self.pattern.sub("", text)
            if method in ("sub", "subn")
            else sum(1 for _ in self.pattern.finditer(text))
            if method == "finditer"
            else getattr(self.pattern, method)(text)
            for method in self.methods
        ]


def _sources() -> Iterator[Use]:
    """Yield every call of ``re`` in the source."""
    for name in _modules():
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        yield from _uses(name, ast.parse(Path(spec.origin).read_text()))


def _uses(place: str, tree: ast.AST) -> Iterator[Use]:
    # A named pattern is tested with the methods its module calls; if none are found, with EVERY.
    used: dict[str, set[str]] = defaultdict(set)
    names = {
        id(node.value): target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    ]
    for call in calls:
        if isinstance(call.value, ast.Name) and call.attr in METHODS:
            used[call.value.id].add(call.attr)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner, method = node.func.value, node.func.attr
        if not (
            isinstance(owner, ast.Name) and owner.id == "re" and method in {*METHODS, "compile"}
        ):
            continue
        flags = {
            flag.attr
            for part in [*node.args[1:], *(word.value for word in node.keywords)]
            for flag in ast.walk(part)
            if isinstance(flag, ast.Attribute) and flag.attr.isupper()
        }
        text = ast.literal_eval(
            node.args[0]
        )  # fails for a pattern that is not a literal, because it could not be tested
        known = used.get(names.get(id(node), "")) or EVERY
        methods = tuple(sorted(known if method == "compile" else {method}))
        yield Use(
            f"{place}:{node.lineno}",
            re.compile(text, sum(getattr(re, flag) for flag in flags)),
            methods,
        )


def _all_uses() -> Iterator[Use]:
    yield from _sources()
    for model in apps.get_models():
        for field in model._meta.get_fields():
            for validator in getattr(field, "validators", ()):
                if isinstance(validator, RegexValidator):
                    regex: Any = validator.regex
                    yield Use(
                        f"{model.__name__}.{field.name}",
                        re.compile(regex.pattern, regex.flags),
                        ("search",),
                    )
    yield from _routes(get_resolver().url_patterns)


def _routes(routes: list[URLPattern | URLResolver]) -> Iterator[Use]:
    for route in routes:
        if (regex := getattr(route.pattern, "regex", None)) is not None and str(
            route.pattern
        ) not in BOUNDED_ROUTES:
            yield Use(f"route {route.pattern}", regex, ("search", "fullmatch"))
        if isinstance(route, URLResolver):
            yield from _routes(route.url_patterns)


def _distinct_uses() -> list[Use]:
    return list(
        {(use.pattern.pattern, use.pattern.flags, use.methods): use for use in _all_uses()}.values()
    )


def cpu_seconds(work: Callable[[], Any]) -> float:
    """Return the CPU seconds of the shortest of up to four runs.

    Raises TooSlowError if one run takes longer than BUDGET.
    """

    def give_up(*_: Any) -> None:
        raise TooSlowError

    found: list[float] = []
    gc.disable()  # a collection takes longer the more objects other tests have left
    before = signal.signal(signal.SIGVTALRM, give_up)
    try:
        while len(found) < 4 and (not found or min(found) > NOISE):
            signal.setitimer(signal.ITIMER_VIRTUAL, BUDGET)
            start = time.thread_time()
            work()
            found.append(time.thread_time() - start)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        gc.enable()
    return min(found)


def grows_too_fast(work: Callable[[int], Callable[[], Any]]) -> bool:
    """Return True if 4 times the text takes far more than 4 times as long.

    ``work(n)`` prepares a run with n characters. A busy machine may distort one measurement, but
    not three with increasing lengths.
    """
    try:
        for scale in (1, 2, 4):
            large = cpu_seconds(work(scale * LARGE))
            if large < NOISE or large < GROWTH_MAX * cpu_seconds(work(scale * SMALL)):
                return False
    except TooSlowError:
        pass
    return True


def _units(pattern: str) -> list[str]:
    """Return UNITS and the literal parts of the pattern, alone and followed by "a" or a space."""
    own = re.findall(r"[A-Za-z0-9/:=._-]{2,40}", pattern)
    return list(
        dict.fromkeys([*UNITS, *own, *(f"{text}a" for text in own), *(f"{text} " for text in own)])
    )


def _slow_units(use: Use) -> Iterator[str]:
    def work(unit: str, end: str) -> Callable[[int], Callable[[], Any]]:
        def prepared(length: int) -> Callable[[], Any]:
            text = unit * (length // len(unit)) + end
            return lambda: use.runs(text)

        return prepared

    return (
        unit
        for unit in _units(use.pattern.pattern)
        for end in ENDS
        if grows_too_fast(work(unit, end))
    )


def test_every_pattern_takes_linear_time() -> None:
    uses = _distinct_uses()

    assert {use.place: units for use in uses if (units := list(_slow_units(use)))} == {}
    assert len(uses) > 120


@pytest.mark.parametrize(
    "pattern", [r"(https?://[^\s?]*)\?", r"X-Amz-[A-Za-z-]+=", r"(a+)+$", r"\s+$"]
)
def test_slow_patterns_are_detected(pattern: str) -> None:
    assert any(_slow_units(Use("here", re.compile(pattern), ("search",))))


def test_pydantic_models_use_the_linear_regex_engine() -> None:
    """No model may select Python's engine, because pydantic's own engine cannot backtrack."""
    for name in _modules():
        for value in vars(importlib.import_module(name)).values():
            assert getattr(value, "model_config", {}).get("regex_engine") != "python-re", name


@pytest.mark.parametrize(
    "unit", ["http://", "X-Amz-a", "?a=", "://", "&", "%", "@", " ", "/webhooks/a", "Bearer "]
)
def test_provider_result_is_redacted_in_linear_time(unit: str) -> None:
    def work(length: int) -> Callable[[], Any]:
        text = unit * (length // len(unit))
        return lambda: without_secrets({text[:1000]: [text, {"a": text}]})

    assert not grows_too_fast(work)


def test_provider_result_is_stored_completely_without_secrets() -> None:
    long = "X-Amz-a" * 20_000
    raw = {"url": f"https://a.test/{'http://' * 10_000}b.png?X-Amz-Signature=secret", "note": long}

    assert make_storable(raw) == {"url": f"https://a.test/{'http://' * 10_000}b.png", "note": long}
    assert "X-Amz-Signature=secret" not in json.dumps(
        make_storable({"of": "x-amz-signature=secret&Policy=secret"})
    )


# --- The log ---


@pytest.fixture
def lines() -> Iterator[list[logging.LogRecord]]:
    """Collect Django's log records after the filters of the console handler."""
    found: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    handler = Keeper()
    console = logging.getLogger("django").handlers[0]
    handler.filters = console.filters[:]
    logging.getLogger("django").addHandler(handler)
    yield found
    logging.getLogger("django").removeHandler(handler)


def test_too_long_path_returns_414() -> None:
    for path in ("/admin/r" + "/r" * 4000, "/v3/" + "a" * PATH_MAX, "/" + "é" * PATH_MAX):
        answer = Client().get(path)
        assert (answer.status_code, answer["Content-Type"]) == (414, "text/plain; charset=utf-8")
    assert Client().get("/v3/" + "a" * (PATH_MAX - 4)).status_code == 404


@pytest.mark.parametrize(
    "unit", ["http://", "X-Amz-a", "?a=", "://", "&", "%", "@", " ", "Bearer "]
)
def test_long_path_is_truncated_in_the_log(unit: str, lines: list[logging.LogRecord]) -> None:
    Client().get("/" + quote(unit * (60_000 // len(unit))))

    assert [line.levelname for line in lines] == ["WARNING"]
    text = lines[0].getMessage()
    assert text.startswith("Request-URI Too Long: /")
    assert len(text) < 2 * ARGUMENT_MAX  # the placeholder of a secret may be longer than the secret
    assert "more characters" in text


@pytest.mark.parametrize("unit", ["http://", "X-Amz-a", "a", "://", "@", ".", ":"])
@pytest.mark.parametrize("header", ["HTTP_HOST", "HTTP_ORIGIN", "HTTP_REFERER"])
def test_long_header_is_logged_in_one_short_line(
    unit: str, header: str, lines: list[logging.LogRecord]
) -> None:
    client = Client(enforce_csrf_checks=True)

    answer = client.post("/login/", {"username": "x"}, **{header: unit * (60_000 // len(unit))})

    assert answer.status_code in (400, 403)
    assert [line.levelname for line in lines] == ["WARNING"]
    assert len(lines[0].getMessage()) < MESSAGE_MAX + 100
    assert not lines[0].exc_info
    assert not lines[0].exc_text


def test_long_log_record_is_truncated_before_redaction() -> None:
    """Messages and tracebacks are truncated before any pattern is applied."""

    def record(size: int) -> logging.LogRecord:
        text = "X-Amz-a" * (size // 7)
        try:
            raise ValueError(text)
        except ValueError as error:
            info = (ValueError, error, error.__traceback__)
            made = logging.LogRecord(
                "loupe", logging.ERROR, __file__, 1, text + " %s", (text,), info
            )
        RedactSecrets().filter(made)
        return made

    small, large = record(60_000), record(4_000_000)
    assert len(large.getMessage()) <= len(small.getMessage()) + 2
    assert len(large.exc_text or "") <= len(small.exc_text or "") + 2


def test_key_at_the_truncation_limit_is_not_logged() -> None:
    secret = settings.SECRET_KEY
    for before in range(MESSAGE_MAX - len(secret), MESSAGE_MAX, 7):
        made = logging.LogRecord(
            "loupe", logging.ERROR, __file__, 1, f"{'a' * before}{secret}", (), None
        )
        RedactSecrets().filter(made)
        assert secret[:8] not in made.getMessage()


# --- Scripts ---


def test_script_patterns_take_linear_time() -> None:
    """Nested quantifiers and adjacent overlapping ones backtrack; the scripts have neither."""
    found = []
    for script in (Path(settings.BASE_DIR) / "static" / "js").rglob("*.js"):
        for literal in re.findall(
            r"(?:[(,=:&|!]\s?)/((?:[^/\\\n\s]|\\.)+)/[gimsuy]*", script.read_text()
        ):
            found.append(literal)
    assert found
    for literal in found:
        assert not any(_slow_units(Use("script", re.compile(literal), ("search", "sub")))), literal
