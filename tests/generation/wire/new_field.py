"""A program that adds fields to the txt2img table and prints their effects.

It declares a field, and one of the same name with another range in an object, in a copy of the
source of ``generation.wire.txt2img``, before anything else is imported. It changes no other module.
Run by ``test_new_field``.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
MODULE = "generation.wire.txt2img"
BEFORE = "    refiner: Refiner | None = None\n"
DECLARATION = """\
    tiling: Annotated[int | None, Column(), Input("Tiling", "model", unit="tiles")] = Field(
        default=None, ge=1, le=4, description="Repeat the image without seams."
    )
"""
BEFORE_INNER = "    upscaler: Annotated[\n"
INNER_DECLARATION = """\
    tiling: Annotated[int | None, Input("Hires tiling", "hires", name="hires_tiling")] = Field(
        default=None, ge=1, le=9
    )
"""


def declare_field() -> None:
    path = ROOT / "generation/wire/txt2img.py"
    source = path.read_text()
    for before, declaration in ((BEFORE, DECLARATION), (BEFORE_INNER, INNER_DECLARATION)):
        assert source.count(before) == 1
        source = source.replace(before, declaration + before)
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None
    module = sys.modules[MODULE] = importlib.util.module_from_spec(spec)
    exec(compile(source, path, "exec"), vars(module))


def find_migration() -> list[str]:
    from django.apps import apps
    from django.db.migrations.autodetector import MigrationAutodetector
    from django.db.migrations.loader import MigrationLoader
    from django.db.migrations.state import ProjectState

    loader = MigrationLoader(None)
    changes = MigrationAutodetector(loader.project_state(), ProjectState.from_apps(apps)).changes(
        loader.graph
    )
    return [
        f"{app}: {operation.describe()}"
        for app, migrations in changes.items()
        for migration in migrations
        for operation in migration.operations
    ]


def make_tables() -> None:
    from django.apps import apps
    from django.conf import settings
    from django.core.management import call_command

    settings.MIGRATION_MODULES = {app.label: None for app in apps.get_app_configs()}
    call_command("migrate", run_syncdb=True, verbosity=0)


def use_field() -> dict[str, Any]:
    import httpx
    from django.contrib.auth.models import User
    from django.test import Client
    from django.test.utils import setup_test_environment
    from django.utils import timezone

    from generation.models import GenerationRequest
    from generation.providers.novita.client import Novita
    from generation.services import model_catalog
    from tests.generation.test_forms import sent
    from tests.moderation.api.calls import make_key

    setup_test_environment()
    model_catalog.fetch_page = lambda query: model_catalog.CatalogPage(asked_at=timezone.now())
    bodies: list[Any] = []

    def provider(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={"task_id": "t"})

    novita = Novita(slug="novita", api_key="k", base_url="https://novita.test", label="Novita")
    novita.use_transport(httpx.MockTransport(provider))
    browser = Client()
    browser.force_login(User.objects.create_superuser("admin"))
    key = make_key("generate")

    def submit(tiling: int, **other: Any) -> Any:
        fields = {"model_name": "m", "prompt": "p", "width": 512, "height": 512, "image_num": 1}
        more = {"steps": 20, "guidance_scale": 7.5, "sampler_name": "Euler a", "tiling": tiling}
        return Client().post(
            "/v3/async/txt2img",
            {"request": fields | more | other},
            content_type="application/json",
            headers={"x-api-key": key},
        )

    refused_form = browser.post("/requests/new/", sent(tiling="5", hires_tiling="10"))
    browser.post("/requests/new/", sent(tiling="3"))
    by_form = GenerationRequest.objects.get()
    novita.submit(by_form.submission, on_answer=lambda raw: None)
    hires = {"target_width": 1024, "target_height": 1024, "strength": 0.5, "tiling": 10}
    refused_api, accepted_api = submit(5, hires_fix=hires), submit(2)
    by_api = GenerationRequest.objects.get(uuid=accepted_api.json()["task_id"])
    schemas = Client().get("/api/openapi.json").json()["components"]["schemas"]
    detail = browser.get(by_form.get_absolute_url()).content.decode()
    admin_url = f"/admin/generation/generationrequest/{by_form.pk}/change/"
    return {
        "form": browser.get("/requests/new/").content.decode(),
        "form_again": browser.get(f"/requests/new/?from={by_form.uuid}").content.decode(),
        "form_errors": refused_form.context["form"].errors,
        "form_column": by_form.tiling,
        "sent": bodies[0]["request"].get("tiling"),
        "api_refusal": [refused_api.status_code, refused_api.json()["metadata"]["fields"]],
        "api_column": by_api.tiling,
        "openapi": schemas["NovitaRequest"]["properties"]["tiling"],
        "detail": detail,
        "admin": browser.get(admin_url).content.decode(),
    }


if __name__ == "__main__":
    import django

    declare_field()
    django.setup()
    migration = find_migration()
    make_tables()
    print(json.dumps({"migration": migration, **use_field()}))
