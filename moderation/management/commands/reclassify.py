from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moderation.models import Reclassification
from moderation.services import reclassification
from moderation.services.reclassification import (
    PER_MINUTE,
    Estimate,
    ReclassificationError,
    Selection,
)

Scope = Reclassification.Scope
SECONDS = 2  # between two looks at the progress


class Command(BaseCommand):
    help = (
        "Run classifiers again on stored images. Prints what that costs and asks before it starts; "
        "the worker carries it out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        images = parser.add_mutually_exclusive_group(required=True)
        images.add_argument(
            "--asset",
            action="append",
            metavar="UUID",
            help="an image, on which every classifier runs again; may be repeated",
        )
        images.add_argument(
            "--queue",
            metavar="SLUG",
            help="a queue, with filters such as waiting?category=violence: "
            "classifiers that failed or have not run",
        )
        images.add_argument("--failed", action="store_true", help="every failed classification")
        images.add_argument(
            "--unseen",
            action="store_true",
            help="images that a classifier, or its current version, has not seen",
        )
        parser.add_argument(
            "--classifier",
            action="append",
            default=[],
            metavar="SLUG",
            help="only this classifier; may be repeated",
        )
        parser.add_argument(
            "--per-minute", type=int, default=PER_MINUTE, metavar="N", help="images per minute"
        )
        parser.add_argument("--dry-run", action="store_true", help="only print the estimate")
        parser.add_argument("--yes", action="store_true", help="start without asking")
        parser.add_argument("--wait", action="store_true", help="print the progress until the end")

    def handle(self, *args: Any, **options: Any) -> None:
        selection = self._select(options)
        try:
            estimate = reclassification.estimate(selection)
            if options["per_minute"] < 1:
                raise ReclassificationError("--per-minute must be at least 1.")
            self._print(estimate, options["per_minute"])
            if options["dry_run"] or not estimate.images:
                return
            if not options["yes"] and input("Start? [y/N] ").strip().lower() not in ("y", "yes"):
                raise CommandError("Nothing was started.")
            order = reclassification.order(
                selection=selection,
                per_minute=options["per_minute"],
                user=None,
                expected=estimate.images,
            )
        except ReclassificationError as error:
            raise CommandError(str(error)) from None
        except EOFError:
            raise CommandError("Nothing was started: confirm with --yes.") from None
        self.stdout.write("Started. The page Reclassifications shows the progress.")
        if options["wait"]:
            self._wait(order)

    def _select(self, options: dict[str, Any]) -> Selection:
        scope = Scope.UNSEEN if options["unseen"] else Scope.FAILED
        target: tuple[str, ...] = ()
        if options["asset"]:
            scope, target = Scope.IMAGES, tuple(dict.fromkeys(options["asset"]))
        elif options["queue"] is not None:
            scope, target = Scope.QUEUE, (options["queue"],)
        return Selection(scope=scope, target=target, classifiers=tuple(options["classifier"]))

    def _print(self, estimate: Estimate, per_minute: int) -> None:
        about = "about " if estimate.is_scaled else ""
        self.stdout.write(
            f"{about}{estimate.images:,} images, {estimate.usd:.2f} USD,"
            f" {estimate.count_minutes(per_minute):,} minutes at {per_minute} images per minute"
        )
        for line in estimate.lines:
            self.stdout.write(f"  {line.label}: {line.runs:,}, {line.price.describe(line.runs)}")

    def _wait(self, order: Reclassification) -> None:
        before = ""
        while True:
            order.refresh_from_db()
            runs = reclassification.count_runs([order])[order.pk]
            counts = ", ".join(f"{count:,} {status}" for status, count in sorted(runs.items()))
            line = f"{order.images:,} of {order.expected:,} images; runs: {counts or 'none'}"
            if line != before:
                self.stdout.write(line if not order.note else f"{line}. {order.note}")
                before = line
            if order.status != Reclassification.Status.RUNNING:
                self.stdout.write(f"{order.get_status_display()}.")
                return
            time.sleep(SECONDS)
