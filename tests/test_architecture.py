"""The statements of docs/architecture.md and README.md, compared with the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver

from generation.models import GenerationRequest, RemoteImage, StateMachine
from generation.sandbox.cards import CARDS
from moderation import taxonomy
from moderation.models import (
    Classification,
    Delivery,
    Head,
    PolicyProposal,
    Reclassification,
    Review,
)

ROOT = Path(settings.BASE_DIR)
PAGE = (ROOT / "docs" / "architecture.md").read_text()
README = (ROOT / "README.md").read_text()
MACHINES = [
    *(GenerationRequest, RemoteImage, Classification, Reclassification, Review, Delivery),
    *(Head, PolicyProposal),
]

# Package → packages that it may import, most specific first.
MAY_IMPORT = {
    "generation.wire": {"generation.wire"},
    "generation.fetching": {"generation.fetching"},
    "generation.imaging": {"generation.imaging"},
    "generation.providers": {
        *("generation.providers", "generation.wire"),
        "generation.core.tracing",  # uses neither models nor settings
    },
    "generation.sandbox": {"generation.sandbox", "generation.wire", "generation.fetching"},
    "generation": {"generation"},
    "moderation": {"moderation", "generation"},
    "config": {"config", "moderation", "generation"},
}
WITHOUT_DATABASE = (
    "generation.wire",
    "generation.fetching",
    "generation.imaging",
    "generation.providers",
)
# Functions on numbers, without Django and the rest of Loupe.
PURE = "moderation.judgement"
OURS = ("config", "generation", "moderation")


def modules() -> Iterator[tuple[str, Path]]:
    for app in OURS:
        for path in sorted((ROOT / app).rglob("*.py")):
            yield (
                ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"),
                path,
            )


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_modules_import_only_downwards() -> None:
    checked = 0
    for module, path in modules():
        package = next(package for package in MAY_IMPORT if within(module, package))
        for name in imports(path):
            # `from generation import x` also names the package itself, which is empty.
            if name in OURS or not any(within(name, ours) for ours in OURS):
                continue
            checked += 1
            assert any(within(name, allowed) for allowed in MAY_IMPORT[package]), (
                f"{module} imports {name}"
            )
    assert checked > 200


def test_network_and_decoder_packages_do_not_import_the_database() -> None:
    for module, path in modules():
        if any(within(module, package) for package in WITHOUT_DATABASE):
            wrong = [
                name for name in imports(path) if name.startswith("django.db") or ".models" in name
            ]
            assert not wrong, f"{module} imports {wrong}"


def test_judgement_imports_neither_django_nor_the_rest_of_loupe() -> None:
    checked = 0
    for module, path in modules():
        if within(module, PURE):
            checked += 1
            for name in imports(path):
                is_ours = any(within(name, ours) for ours in OURS)
                allowed = within(name, PURE) or within(name, "moderation.taxonomy")
                assert not is_ours or allowed or name == "moderation", f"{module} imports {name}"
                assert not within(name, "django"), f"{module} imports {name}"
    assert checked > 4


def test_http_client_is_imported_only_by_providers_http_and_fetching() -> None:
    users = {
        module
        for module, path in modules()
        if any(within(n, "httpx") or within(n, "httpcore") for n in imports(path))
    }

    assert users <= {
        "generation.providers.http",
        "generation.fetching",
        "generation.fetching.transport",
    }


@pytest.mark.parametrize("machine", MACHINES)
def test_every_status_has_transitions_and_is_documented(
    machine: type[StateMachine],
) -> None:
    statuses = set(machine.Status.values)

    assert set(machine.TRANSITIONS) == statuses
    assert {target for targets in machine.TRANSITIONS.values() for target in targets} <= statuses
    assert [status for status in sorted(statuses) if f"`{status}`" not in PAGE] == []


@pytest.mark.parametrize("machine", [GenerationRequest, Review])
def test_documented_transitions_match_the_code(machine: type[StateMachine]) -> None:
    section = PAGE.split(f"| {machine.__name__} | may go to")[1].split("\n\n")[0]
    shown: dict[str, set[str]] = {}
    for line in section.splitlines()[2:]:
        sources, targets = line.strip("|").split("|")[:2]
        for source in re.findall(r"`(\w+)`", sources):
            shown[source] = set(re.findall(r"`(\w+)`", targets))

    assert shown == {source: set(targets) for source, targets in machine.TRANSITIONS.items()}


def test_status_changes_only_through_move_to() -> None:
    for module, path in modules():
        if "migrations" in module:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            targets = node.targets if isinstance(node, ast.Assign) else []
            wrong = [
                t
                for t in targets
                if isinstance(t, ast.Attribute)
                and t.attr == "status"
                and isinstance(t.ctx, ast.Store)
            ]
            assert not wrong, f"{module}:{node.lineno} assigns a status"


def test_settings_and_readme_table_match() -> None:
    source = (ROOT / "config" / "settings.py").read_text()
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z][A-Z0-9_]+)"', source))
    documented = re.findall(r"^\| `([A-Z][A-Z0-9_]+)` \|", README, re.MULTILINE)

    assert sorted(documented) == sorted(read)  # each setting once
    template = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", template, re.MULTILINE)) <= read


def test_every_decision_record_has_its_own_number_and_names_it() -> None:
    files = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [path.name[:4] for path in files]

    assert sorted(set(numbers)) == numbers
    for number, path in zip(numbers, files, strict=True):
        assert path.read_text().startswith(f"# {number}: "), path.name


def routes(resolver: URLResolver | None = None, prefix: str = "/") -> Iterator[str]:
    for entry in (resolver or get_resolver()).url_patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", path)
        elif entry.app_name != "admin":
            yield from routes(entry, path)


def test_every_route_is_documented() -> None:
    named = set(re.findall(r"`(/?[^`\s]*)`", PAGE.split("## Addresses")[1].split("htmx:")[0]))

    def is_documented(route: str) -> bool:
        if route in named or any(
            place.endswith("…") and route.startswith(place[:-1]) for place in named
        ):
            return True
        parent, _, last = route.rstrip("/").rpartition("/")
        return f"{last}/" in named and f"{parent}/" in named

    missing = [route for route in routes() if not is_documented(route)]
    assert missing == []


# The layers inside an app, top first. A layer imports only itself and the layers below.
LAYERS = ({"views", "api"}, {"presenters"}, {"services"}, {"models"})


def layer_of(module: str) -> int | None:
    parts = module.split(".")
    names = [parts[1]] if len(parts) > 1 and parts[0] in ("generation", "moderation") else []
    return next((depth for depth, layer in enumerate(LAYERS) if layer & set(names)), None)


def test_inner_layers_import_only_downwards() -> None:
    checked = 0
    for module, path in modules():
        own = layer_of(module)
        if own is None:
            continue
        for name in imports(path):
            other = layer_of(name)
            if other is not None and name.split(".")[0] == module.split(".")[0]:
                checked += 1
                assert own <= other, f"{module} imports {name}"
    assert checked > 200


def test_imports_have_no_cycle() -> None:
    known = dict(modules())
    graph = {
        module: {
            name
            for name in imports(path)
            if name in known and name != module and not within(module, name)
        }
        for module, path in known.items()
    }
    finished: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in finished:
            for name in sorted(graph[module]):
                visit(name, (*trail, module))
            finished.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_framework_internals_are_used_only_below_core() -> None:
    private = re.compile(r"^(django|jinja2|markupsafe|django_q)(\.\w+)*\._\w+|\._speedups")
    for module, path in modules():
        if not within(module, "generation.core"):
            wrong = [name for name in imports(path) if private.search(name)]
            assert wrong == [], f"{module} imports {wrong}"
            assert ".__new__(" not in path.read_text(), module


def test_sandbox_cards_match_the_taxonomy() -> None:
    assert {card.slug for card in CARDS} == set(taxonomy.CATEGORIES)
    for level in taxonomy.LEVELS:
        covered = set(taxonomy.list_level_categories(level))
        seen = {
            c.slug
            for c in CARDS
            if c.novita_level is not None and c.novita_level <= level and "." in c.slug
        }
        for slug in seen:
            assert slug in covered or taxonomy.get(slug).l1 in covered, slug


def test_models_are_registered_in_the_admin() -> None:
    from django.contrib import admin

    inline = {
        "AskRule",
        "Label",
        "EarnedTrust",
        "PolicyActivation",
        "PolicyRule",
        "RemoteImage",
        "RequestTransition",
    }
    # On the pages of policies.
    inline |= {"PolicyProposal"}
    inline |= {"AccessTrace"}  # on a page of its own
    # On the pages of the team; the answers of a person are shown to that person only.
    inline |= {"GoldenImage", "GoldenAnswer"}
    inline |= {"CalibrationSession", "CalibrationImage", "CalibrationParticipant"}
    inline |= {"CalibrationAnswer", "CalibrationNote"}
    # On the pages Retention, Legal holds and Storage.
    inline |= {"RetentionRule", "RetentionEvent", "Erasure", "StorageScan", "StorageUsage"}
    inline |= {"LegalHold", "HeldImage", "LegalHoldLift"}
    # Indexes and counters derived from other rows.
    inline |= {"AssetText", "HashBand", "WordStatsProgress", "WordStats"}
    inline |= {"CountProgress", "PeriodCount", "RunningTotal", "ServiceCall"}
    # On the page Operations.
    inline |= {"Alarm", "AlarmCheck", "AlarmNotice"}
    inline |= {"ScoreStats", "ScoreStatsProgress"}
    models = [
        m for app in ("generation", "moderation") for m in apps.get_app_config(app).get_models()
    ]

    # The admin site does not support composite primary keys.
    models = [m for m in models if not m._meta.is_composite_pk]
    missing = sorted(
        m.__name__ for m in models if not admin.site.is_registered(m) and m.__name__ not in inline
    )
    # Exposure is private to its user, and sessions and activity are on the pages of the team only.
    assert missing == ["BrowserSession", "ChainHead", "Exposure", "LastActivity"]


def test_templates_contain_nothing_that_the_content_security_policy_forbids() -> None:
    for path in sorted((ROOT / "templates").rglob("*.html")):
        text = path.read_text()
        for forbidden in (
            r"\sstyle=",
            r"<style",
            r"\son\w+=",
            r"hx-on",
            r"\|safe",
            r"autoescape off",
            r"(src|href)=.https?:",
        ):
            assert not re.search(forbidden, text), f"{path.name}: {forbidden}"


def test_colours_are_defined_only_in_tokens_css() -> None:
    for path in sorted((ROOT / "static" / "css").glob("*.css")):
        if path.name != "tokens.css":
            found = re.findall(r"oklch\(|rgba?\(|hsla?\(|#[0-9a-fA-F]{3,8}\b", path.read_text())
            assert not found, f"{path.name}: {found[:3]}"
