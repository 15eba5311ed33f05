"""The static files of production, whose modules import each other by hashed names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from django.template import Context, Template
from django.templatetags.static import static

SCRIPTS = Path(settings.BASE_DIR) / "static" / "js"
IMPORT = re.compile(r'^(?:import|\}|import .*) ?(?:from )?"(\.[^"]+)";$', re.MULTILINE)


def imports_of(script: Path) -> list[Path]:
    return [(script.parent / name).resolve() for name in IMPORT.findall(script.read_text())]


@pytest.fixture
def collected(settings: Any, tmp_path: Path) -> Path:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "config.static_files.ModuleStaticFilesStorage"},
    }
    call_command("collectstatic", interactive=False, verbosity=0)
    return tmp_path


def test_collected_modules_import_hashed_names_that_exist(collected: Path) -> None:
    modules = [collected / staticfiles_storage.stored_name(_name(path)) for path in _scripts()]
    count = 0
    for module in modules:
        for imported in imports_of(module):
            assert imported.is_file(), f"{module.name} imports {imported.name}"
            assert re.search(r"\.[0-9a-f]{12}\.js$", imported.name), imported.name
            count += 1
    assert count == sum(len(imports_of(path)) for path in _scripts()) > 0


def test_module_imports_contain_the_hash_of_the_imported_module(collected: Path) -> None:
    main = collected / staticfiles_storage.stored_name("js/desk/main.js")
    assert staticfiles_storage.stored_name("js/desk/settling.js").rsplit("/")[-1] in (
        collected / staticfiles_storage.stored_name("js/desk/panel_shown.js")
    ).read_text(encoding="utf-8")
    assert staticfiles_storage.stored_name("js/desk/panel_shown.js").rsplit("/")[-1] in (
        main.read_text()
    )


@pytest.mark.parametrize("entry", ["page", "desk", "sheet"])
def test_every_module_below_an_entry_point_is_preloaded(entry: str) -> None:
    below = {SCRIPTS / entry / "main.js"}
    for _ in range(len(_scripts())):
        below |= {imported for path in below for imported in imports_of(path)}
    page = Template('{% load desk %}{% preload_modules "js/' + entry + '/main.js" %}')

    links = re.findall(r'<link rel="modulepreload" href="([^"]+)">', page.render(Context()))

    assert sorted(links) == sorted(static(_name(path)) for path in below)


def test_modules_share_no_globals_and_have_no_cycle() -> None:
    for path in _scripts():
        assert not re.search(r"\b(?:window|self|globalThis)(?:\.\w|\[)", path.read_text()), path
    graph = {path.resolve(): imports_of(path) for path in _scripts()}
    seen: dict[Path, bool] = {}

    def visit(path: Path) -> None:
        assert seen.get(path) is not False, f"{path} imports itself"
        if path not in seen:
            seen[path] = False
            for imported in graph[path]:
                visit(imported)
            seen[path] = True

    for path in graph:
        visit(path)


def _scripts() -> list[Path]:
    return sorted(SCRIPTS.rglob("*.js"))


def _name(path: Path) -> str:
    return f"js/{path.relative_to(SCRIPTS)}"
