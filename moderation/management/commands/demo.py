from __future__ import annotations

import secrets
import uuid
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from generation import providers
from generation.core.storage import StorageUnavailableError
from generation.services.requests import create_request
from moderation import classifiers, demo
from moderation.models import Policy, Review
from moderation.services import demo_past, policies, verification

# Namespace of the batch's form tokens: a repeated run finds the same requests.
NAMESPACE = uuid.UUID("6f3c1f0e-5a0b-4c55-9d1b-8d4f6f1f2a10")


class Command(BaseCommand):
    help = (
        "Fill an installation with a demo: people, a policy and a first batch of "
        "requests. Can run repeatedly."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--days",
            type=int,
            default=0,
            help="invent images and decisions of so many past days, if there are no images yet",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError(
                "The demo makes log-ins with a shared password, so it is refused unless DEBUG"
                " is on."
            )
        password = settings.DEMO_PASSWORD or secrets.token_urlsafe(9)
        made = self._create_people(password)
        self._activate_policy(days=options["days"])
        requests = self._create_requests()
        self._print_report(made, password, requests)

    @transaction.atomic
    def _create_people(self, password: str) -> list[demo.Person]:
        """Create missing accounts; with DEMO_PASSWORD set, reset all passwords to it."""
        made = []
        for person in demo.PEOPLE:
            user, is_new = User.objects.get_or_create(
                username=person.username,
                defaults={"is_staff": person.is_staff, "is_superuser": person.is_superuser},
            )
            user.groups.set(Group.objects.filter(name__in=person.roles))
            user.user_permissions.set(Permission.objects.filter(codename__in=person.permissions))
            if is_new or settings.DEMO_PASSWORD:
                user.set_password(password)
                user.save()
                made.append(person)
        return made

    @transaction.atomic
    def _activate_policy(self, *, days: int) -> None:
        if Policy.objects.filter(name=demo.POLICY_NAME).exists():
            return
        starting = Policy.objects.active()
        sandbox = self._find_sandbox()
        with_past = days > 0 and bool(sandbox) and not Review.objects.exists()
        if with_past:
            demo_past.create_earlier_policy(based_on=starting)
        policy = policies.create_version(
            based_on=starting,
            user=None,
            name=demo.POLICY_NAME,
            note=demo.POLICY_NOTE,
            trusted_silences=[classifiers.LOCAL],
            accepted_unchecked=list(demo.ACCEPTED_UNCHECKED),
        )
        if with_past:
            demo_past.create(days=days, policy=policy, provider=sandbox)
        policies.activate(policy=policy, user=None)
        # Otherwise the first alarm says that a record of two weeks was never verified.
        verification.verify_record()

    def _find_sandbox(self) -> str:
        return next((slug for slug in providers.list_labels() if slug.endswith("-sandbox")), "")

    def _create_requests(self) -> int:
        """Create the requests. Real providers are never used, because they bill them."""
        sandbox = self._find_sandbox()
        if not sandbox:
            self.stdout.write(
                "No requests were created: a provider's key is set, and the demo spends no money."
            )
            return 0
        author = User.objects.get(username="artist")
        for number, prompt in enumerate(demo.BATCH, start=1):
            try:
                create_request(
                    user=author,
                    provider=sandbox,
                    fields=self._build_fields(number, prompt),
                    form_token=uuid.uuid5(NAMESPACE, str(number)),
                )
            except StorageUnavailableError as error:
                self.stderr.write(
                    f"{error} Then run `manage.py demo` again for the rest of the requests."
                )
                return number - 1
        return len(demo.BATCH)

    def _build_fields(self, number: int, prompt: demo.Prompt) -> dict[str, Any]:
        width, height = prompt.size
        return {
            "model_name": demo.choose_model(number),
            "prompt": prompt.text,
            "negative_prompt": prompt.negative,
            "width": width,
            "height": height,
            "image_num": prompt.images,
            "steps": 20 + number % 11,
            "guidance_scale": "7.5",
            "sampler_name": "Euler a" if number % 3 else "DPM++ 2M Karras",
            "seed": 1000 + 37 * number,
            "response_image_type": prompt.image_type,
            "enable_nsfw_detection": prompt.level is not None,
            "nsfw_detection_level": prompt.level or 0,
        }

    def _print_report(self, made: list[demo.Person], password: str, requests: int) -> None:
        self.stdout.write(f"Demo: {requests} requests, policy “{demo.POLICY_NAME}” in force.")
        if not made:
            self.stdout.write(
                "The demo log-ins exist already; their passwords are unchanged (set DEMO_PASSWORD"
                " to reset)."
            )
            return
        self.stdout.write(demo.describe_accounts(password))
