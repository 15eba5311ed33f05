from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation.models import Asset
from moderation.classifiers.base import ClassifierError
from moderation.models import Head
from moderation.models.heads import BrokenHeadError
from moderation.services import learning, rescoring
from moderation.services.learning import LearningError


class Command(BaseCommand):
    help = "List, check, promote, retire, export and import learned heads."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("list", help="list heads, and what keeps each from a step")
        listing.add_argument("--all", action="store_true", help="retired ones too")
        for name, text in {
            "show": "show a head with its figures and changes",
            "rebuild": "train a head again from the record and compare the bytes",
            "score": "apply a head to all embedded images, and store nothing",
            "export": "write a head as JSON",
        }.items():
            actions.add_parser(name, help=text).add_argument("head", type=int)
        for name, text in {
            "promote": "move a head one step up",
            "retire": "take a head out of use for good",
        }.items():
            action = actions.add_parser(name, help=text)
            action.add_argument("head", type=int)
            self._add_author(action)
            action.add_argument("--note", default="", help="why")
            if name == "promote":
                action.add_argument(
                    "--may-reject",
                    action="store_true",
                    help="its findings may reject by the policy's “reject at”",
                )
        importing = actions.add_parser("import", help="store an exported head as a shadow head")
        importing.add_argument("file", type=Path)
        self._add_author(importing)

    def _add_author(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--by", required=True, metavar="USERNAME", help="a policy lead; is recorded"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['action']}")(options)
        except (LearningError, BrokenHeadError, ClassifierError) as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"The file cannot be read: {error}") from None

    def _list(self, options: dict[str, Any]) -> None:
        rows = Head.objects.defer("artefact").order_by("category", "pk")
        if not options["all"]:
            rows = rows.exclude(status=Head.Status.RETIRED)
        for row in rows:
            self.stdout.write(
                f"{row.pk} {row.category} {row.status}, {row.positives:,} of {row.images:,} images,"
                f" {row.created_at:%Y-%m-%d}"
            )
            obstacles = " ".join(learning.list_obstacles(row)) or "May be promoted."
            self.stdout.write(f"  {obstacles}")
        if not rows:
            self.stdout.write("There are no heads. Run manage.py train_heads.")

    def _show(self, options: dict[str, Any]) -> None:
        row = _find(options)
        figures = row.load().figures
        self.stdout.write(f"{row}: {row.get_status_display()}")
        self.stdout.write(f"  for {row.encoder_version} {row.zero_shot_version}")
        self.stdout.write(f"  SHA-256 {row.sha256}, of the training {row.training_sha256}")
        for name in figures.__slots__:
            if name != "folds":
                self.stdout.write(f"  {name}: {getattr(figures, name)}")
        self.stdout.write(f"  gate: {row.gate or 'fulfils all conditions'}")
        for change in row.changes.select_related("author").order_by("pk"):
            self.stdout.write(
                f"  {change.created_at:%Y-%m-%d %H:%M} {change.before} to {change.after} by"
                f" {change.author or 'the job'}. {change.note}".rstrip()
            )

    def _promote(self, options: dict[str, Any]) -> None:
        row = learning.promote(
            head=_find(options),
            user=_find_author(options),
            note=options["note"],
            may_reject=options["may_reject"],
        )
        self.stdout.write(f"{row} is {row.status}.")

    def _retire(self, options: dict[str, Any]) -> None:
        row = learning.retire(head=_find(options), user=_find_author(options), note=options["note"])
        self.stdout.write(f"{row} is retired.")

    def _export(self, options: dict[str, Any]) -> None:
        self.stdout.write(learning.export(_find(options)), ending="")

    def _import(self, options: dict[str, Any]) -> None:
        text = options["file"].read_text(encoding="utf-8", errors="replace")
        result = learning.import_file(text, user=_find_author(options))
        state = "as measured" if result.is_rebuilt else "not measured on this record"
        self.stdout.write(f"{result.head} is a shadow head, {state}.")

    def _rebuild(self, options: dict[str, Any]) -> None:
        row = _find(options)
        learning.rebuild(row)
        self.stdout.write(f"{row} was rebuilt byte for byte: {row.sha256}.")

    def _score(self, options: dict[str, Any]) -> None:
        row, started = _find(options), time.monotonic()
        scores = rescoring.score_library(row)
        self.stdout.write(
            f"{row}: {scores.flagged:,} of {scores.images:,} images reach its threshold"
            f" ({time.monotonic() - started:.1f} s)."
        )
        assets = Asset.objects.in_bulk([pk for _, pk in scores.top])
        for probability, pk in scores.top:
            if pk in assets:
                self.stdout.write(f"  {probability:.0%} {assets[pk].uuid}")


def _find(options: dict[str, Any]) -> Head:
    row = Head.objects.filter(pk=options["head"]).first()
    if row is None:
        raise CommandError(f"There is no head {options['head']}.")
    return row


def _find_author(options: dict[str, Any]) -> User:
    author = User.objects.filter(username=options["by"], is_active=True).first()
    if author is None:
        raise CommandError(f"There is no account {options['by']}.")
    return author
