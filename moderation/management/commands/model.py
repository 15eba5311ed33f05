from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from moderation.classifiers.vision import installed
from moderation.classifiers.vision.installed import InstalledModel
from moderation.classifiers.vision.known_models import KNOWN_MODELS
from moderation.classifiers.vision.layout import VisionModelError
from moderation.services import vision_models
from moderation.services.vision_models import Consent


def _find_person() -> str:
    """Return the name of the account that runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return f"uid {os.getuid()}"


class Command(BaseCommand):
    help = "Install, list and remove image-text models (classifier and encoder “vision”)."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        adder = actions.add_parser("add", help="check a folder and copy it to DATA_DIR/models")
        adder.add_argument("folder", type=Path, help="a model in Immich's layout")
        adder.add_argument("--name", default="", help="default: the known name, or the folder's")
        adder.add_argument(
            "--unknown",
            action="store_true",
            help="accept files that are not those of a known model",
        )
        adder.add_argument("--licence", default="", help="the licence of an unknown model")
        fetcher = actions.add_parser("fetch", help="download a model, check it and add it")
        fetcher.add_argument("name", help=f"known models: {', '.join(KNOWN_MODELS)}")
        fetcher.add_argument(
            "--manifest",
            type=Path,
            help="JSON with base_url, licence, and size and SHA-256 of files",
        )
        for parser_ in (adder, fetcher):
            parser_.add_argument(
                "--accept-licence", action="store_true", help="you have read the model's licence"
            )
        actions.add_parser("list", help="list the installed models")
        remover = actions.add_parser("remove", help="delete an installed model")
        remover.add_argument("name")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        run = {
            "add": self._add,
            "fetch": self._fetch,
            "list": self._list,
            "remove": self._remove,
        }[action]
        try:
            run(options)
        except VisionModelError as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{error.filename or 'A file'}: {error.strerror}.") from None

    def _add(self, options: dict[str, Any]) -> None:
        model = vision_models.add(
            options["folder"],
            name=options["name"],
            consent=self._read_consent(options),
            licence=options["licence"],
            report=self.stdout.write,
        )
        self._explain(model)

    def _fetch(self, options: dict[str, Any]) -> None:
        name, path = options["name"], options["manifest"]
        manifest = vision_models.read_manifest(path) if path else vision_models.find_manifest(name)
        consent = self._read_consent(options)
        self._explain(
            vision_models.fetch(name, manifest, consent=consent, report=self.stdout.write)
        )

    def _read_consent(self, options: dict[str, Any]) -> Consent:
        return Consent(
            person=_find_person(),
            accepts_licence=options["accept_licence"],
            allows_unknown=options.get("unknown", False),
        )

    def _explain(self, model: InstalledModel) -> None:
        self.stdout.write(
            f"Installed {model.name}. Restart the web server and the worker. Then the classifier"
            " “vision” runs unless CLASSIFIERS leaves it out, and this model embeds images unless"
            " ENCODER names another encoder. Its scores are not calibrated: a policy sends its"
            " findings to people. For images that are stored already, run manage.py embed."
        )

    def _list(self, options: dict[str, Any]) -> None:
        for name in installed.list_names():
            try:
                model = installed.get(name)
            except VisionModelError as error:
                self.stdout.write(f"{name}\t{error}")
                continue
            fields = (
                name,
                "known" if model.known else "unknown",
                model.licence,
                f"{model.size / 1e6:.0f} MB",
                f"accepted by {model.accepted_by}, {model.accepted_at}",
                "in use" if name == settings.VISION_MODEL else "",
            )
            self.stdout.write("\t".join(fields).rstrip())
        if not installed.list_names():
            self.stdout.write("No model is installed.")

    def _remove(self, options: dict[str, Any]) -> None:
        vision_models.remove(options["name"])
        self.stdout.write(f"Removed {options['name']}. Restart the web server and the worker.")
