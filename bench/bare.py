"""Baseline: a minimal Django page with one URL, one view and one small template.

It does not change with Loupe, so figures of different versions and machines can be compared by it.
Runs in its own process, because it has its own settings: ``python -m bench.bare out.json``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from bench.figures import spread
from bench.people import InProcess, Person
from bench.places import ROOT

TIMES = 2000
WARM_UP = 200
PAGE = "<h1>{{ title }}</h1><ul>{% for number in numbers %}<li>{{ number }}</li>{% endfor %}</ul>"


def page(request: HttpRequest) -> HttpResponse:
    return render(request, "page.html", {"title": "A page", "numbers": range(10)})


urlpatterns = [path("", page)]


def measure_bare_page() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "bare.json"
        subprocess.run([sys.executable, "-m", "bench.bare", str(out)], cwd=ROOT, check=True)
        found: dict[str, Any] = json.loads(out.read_text())
    return found


def main(out: str) -> None:
    loader = ("django.template.loaders.locmem.Loader", {"page.html": PAGE})
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="of no use to anybody",
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {"loaders": [loader]},
            },
        ],
    )
    django.setup()
    nobody = Person("nobody", InProcess(get_wsgi_application()))
    for _ in range(WARM_UP):
        nobody.get("/")
    answers = [nobody.get("/") for _ in range(TIMES)]
    Path(out).write_text(json.dumps({"cpu": spread([answer.cpu for answer in answers])}))


if __name__ == "__main__":
    main(sys.argv[1])
