from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from generation.core.outages import find_outage
from moderation.services.alarms import checks, notices, outage


class Command(BaseCommand):
    help = (
        "Check all alarms and send their notices, without a worker. Run it each minute by a timer"
        " of the system, so that alarms reach somebody when all workers are dead."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--test", action="store_true", help="open a test alarm first")
        parser.add_argument(
            "--fail", action="store_true", help="exit with 2 while an alarm is open"
        )

    def handle(self, *args: Any, test: bool, fail: bool, **options: Any) -> None:
        try:
            if test:
                checks.open_test_alarm()
            open_alarms = checks.check_all()
            notices.send_due(go_on=lambda: True)
        except Exception as error:
            if find_outage(error) is None:
                raise
            self.stderr.write(outage.report())
            if fail:
                raise SystemExit(2) from None
            return
        outage.report_end()
        for alarm in open_alarms:
            self.stdout.write(f"{alarm.title}, since {alarm.opened_at:%Y-%m-%d %H:%M} UTC.")
            self.stdout.write(f"  {alarm.message}")
        if not open_alarms:
            self.stdout.write("No alarm is open.")
        elif fail:
            raise SystemExit(2)
