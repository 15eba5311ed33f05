"""For each job, new work to do and a check of the result. Used by tests that kill the job."""

from __future__ import annotations

import io
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import call_command
from django.utils import timezone

import generation.tasks
import moderation.tasks
from generation import fetching, providers
from generation.core.db.state_machine import DueModel
from generation.core.storage import (
    FOLDERS,
    PURGES,
    asset_name,
    get_asset_storage,
    sweep_temporary_files,
)
from generation.jobs import Job
from generation.models import (
    Asset,
    AssetText,
    GenerationRequest,
    ImportRun,
    ProviderState,
    RemoteImage,
    Scope,
)
from generation.sandbox.models import SandboxTask
from generation.services import health, importing, purging
from moderation.classifiers import encoders
from moderation.models import (
    Alarm,
    AlarmCheck,
    AlarmNotice,
    ChainHead,
    Chore,
    Classification,
    CountProgress,
    DailyStats,
    Decision,
    Delivery,
    Embedding,
    Erasure,
    HeadRescoring,
    HeadTraining,
    JudgementReport,
    Policy,
    PolicyActivation,
    PolicyProposal,
    PolicyTrial,
    PromptTrial,
    PublishedHead,
    Reclassification,
    Resettlement,
    RetentionEvent,
    RetentionRule,
    Review,
    ScoreStatsProgress,
    ShadowCheck,
    ShadowCount,
    StorageScan,
    StorageUsage,
    Verdict,
    Verification,
    WordStatsProgress,
)
from moderation.services import (
    decisions,
    housekeeping,
    judgement,
    learning,
    period_counts,
    policies,
    prompt_trials,
    proposals,
    published_heads,
    reclassification,
    rescoring,
    retention,
    shadows,
    storage_usage,
    trials,
    verification,
)
from moderation.services.alarms import checks as alarm_checks
from moderation.services.alarms import notices as alarm_notices
from tests.conftest import picture
from tests.faults.recovery import end_leases, wait_for_webhooks
from tests.generation.pipeline_helpers import ask, run_line
from tests.generation.test_importing import item
from tests.moderation.api.calls import LocalServer, make_key
from tests.moderation.api.test_novita import body, submit
from tests.moderation.encoder_helpers import use_mean_colour
from tests.moderation.learned.house import make_head
from tests.moderation.reclassification_helpers import use_steered
from tests.stored import empty_storage, list_stored, read_stored, replace_stored

Status = GenerationRequest.Status


@dataclass
class World:
    """The people, settings and servers that the scenarios work with."""

    make_asset: Callable[..., Asset]
    make_review: Callable[..., Review]
    moderator: User
    lead: User
    second_lead: User
    settings: Any
    monkeypatch: pytest.MonkeyPatch
    url: str
    hook: LocalServer
    folder: Path
    numbers: Any

    def decide(self, verdict: str = Verdict.APPROVE) -> Decision:
        review = self.make_review()
        decisions.claim(review=review, user=self.moderator)
        return decisions.decide(review=review, user=self.moderator, verdict=Verdict(verdict))

    def make_draft(self) -> Policy:
        return policies.create_version(based_on=Policy.objects.active(), user=self.lead)


class Scenario:
    """Work for one job. ``prepare`` adds new work; ``check`` finds what is wrong afterwards.

    ``part`` tells scenarios of the same job apart. ``rows`` are the models whose due rows it makes.
    """

    job: Job
    part = ""
    rows: tuple[type[DueModel], ...] = ()

    def __init__(self, world: World) -> None:
        self.world = world
        self.set_up()

    def set_up(self) -> None:
        """Make what all rounds share."""

    def prepare(self) -> None:
        # A scenario without work of its own would pass without testing anything.
        raise NotImplementedError(f"{type(self).__name__} adds no work for its job.")

    def run(self) -> None:
        self.job()

    def recover(self) -> None:
        """Do what the jobs that run until nothing is due leave to do."""

    def check(self) -> list[str]:
        return []


def _due_now() -> dict[str, Any]:
    return {"due_at": timezone.now() - timedelta(seconds=1)}


# --- The line from a request to its images ---
class Submit(Scenario):
    job = generation.tasks.submit
    rows = (GenerationRequest,)
    request: GenerationRequest

    def prepare(self) -> None:
        self.request = ask(seed=next(self.world.numbers))

    def check(self) -> list[str]:
        self.request.refresh_from_db()
        tasks = SandboxTask.objects.filter(seed=str(self.request.seed)).count()
        if self.request.status == Status.SUCCEEDED:
            return [] if tasks == 1 else [f"sent {tasks} times"]
        if self.request.status == Status.UNKNOWN:  # killed before it was sent: nothing is billed
            return [] if tasks == 0 else ["accepted, and nobody knows the task"]
        return [f"ended as {self.request.status}: {self.request.error}"]


class Reconcile(Submit):
    job = generation.tasks.reconcile

    def set_up(self) -> None:
        # Five lost answers in a row pause the provider.
        self.world.monkeypatch.setattr(health, "pause_if_failing", lambda *args, **named: None)

    def prepare(self) -> None:
        self.request = ask(seed=next(self.world.numbers), prompt="a harbour sandbox:lost")
        generation.tasks.submit()
        wait_for_webhooks()
        end_leases()


class Poll(Submit):
    job = generation.tasks.poll

    def prepare(self) -> None:
        super().prepare()
        generation.tasks.submit()
        wait_for_webhooks()
        end_leases()


class Fetch(Submit):
    job = generation.tasks.fetch
    rows = (RemoteImage,)

    def prepare(self) -> None:
        super().prepare()
        generation.tasks.submit()
        end_leases()
        generation.tasks.poll()


class Deliver(Scenario):
    job = moderation.tasks.deliver
    rows = (Delivery,)
    task: str

    def set_up(self) -> None:
        self.key = make_key(Scope.GENERATE, Scope.READ)

    def prepare(self) -> None:
        hook = self.world.hook
        fields = body(prompt="sandbox:explicit.nudity@99", seed=next(self.world.numbers))
        answer = submit(self.key, {**fields, "extra": {"webhook": {"url": hook.url}}})
        self.task = answer.json()["task_id"]
        for _ in range(2):
            for job in (
                generation.tasks.submit,
                generation.tasks.poll,
                generation.tasks.fetch,
                moderation.tasks.classify,
            ):
                end_leases()
                job()
        end_leases()

    def check(self) -> list[str]:
        rows = list(Delivery.objects.filter(request__uuid=self.task))
        events = [p for p in self.world.hook.posts if self.task.encode() in p.content]
        ids = {event.headers.get("webhook-id") or event.content for event in events}
        if [row.status for row in rows] != ["delivered"]:
            request = GenerationRequest.objects.get(uuid=self.task)
            state = [(row.status, row.error) for row in rows]
            reviews = list(
                Review.objects.filter(asset__request=request).values_list("status", "reason")
            )
            return [f"deliveries {state}, request {request.status} {request.error}, {reviews}"]
        return [] if len(ids) == 1 else [f"{len(ids)} different events for one delivery"]


class ImportScenario(Scenario):
    job = generation.tasks.import_scenario

    def set_up(self) -> None:
        world = self.world
        world.settings.SCENARIO_IMPORT_MINUTES, world.settings.SCENARIO_API_KEY = 1, "key"
        scenario = self

        class Client:
            label = "Scenario"

            def list_assets(self, token: str = "", **options: Any) -> Any:
                from generation.providers.scenario import AssetPage

                names, rest = scenario.names[:2], scenario.names[2:]
                chosen, after = (names, "1") if not token else (rest, "")
                return AssetPage(items=tuple(item(name) for name in chosen), next_token=after)

            def get_asset(self, asset_id: str, **options: Any) -> Any:
                return item(asset_id)

        def fetch(url: str, **options: Any) -> fetching.Fetched:
            seed = 10_000 + int(url.partition("?")[0].rpartition("_")[2])
            return fetching.Fetched(picture(seed), "image/png", url.partition("?")[0])

        world.monkeypatch.setattr(importing, "make_client", Client)
        world.monkeypatch.setattr(fetching, "fetch", fetch)

    def prepare(self) -> None:
        self.names = [f"asset_{next(self.world.numbers)}" for _ in range(3)]
        ImportRun.objects.update(finished_at=timezone.now() - timedelta(hours=1))

    def check(self) -> list[str]:
        ImportRun.objects.update(leased_until=None)
        self.job()
        stored = Asset.objects.filter(source="scenario", external_id__in=self.names).count()
        running = ImportRun.objects.filter(status=ImportRun.Status.RUNNING).count()
        return [] if (stored, running) == (3, 0) else [f"{stored} of 3 stored, {running} running"]


# --- Classifiers ---
class Classify(Scenario):
    job = moderation.tasks.classify
    rows = (Classification,)
    asset: Asset

    def set_up(self) -> None:
        use_steered(self.world.settings)

    def prepare(self) -> None:
        self.asset = self.world.make_asset(picture(next(self.world.numbers)))

    def check(self) -> list[str]:
        runs = list(Classification.objects.filter(asset=self.asset))
        wrong = [run for run in runs if run.status not in ("done", "failed")]
        review = Review.objects.get(asset=self.asset)
        if wrong or not runs or review.status == Review.Status.CLASSIFYING:
            return [f"runs {[run.status for run in runs]}, review {review.status}"]
        return []


class ClassifyRemote(Classify):
    job = moderation.tasks.classify_remote

    def set_up(self) -> None:
        self.world.settings.CLASSIFIERS = ["nanogpt"]
        self.world.settings.NANOGPT = {
            "api_key": "sandbox",
            "base_url": f"{self.world.url}/sandbox/nano-gpt",
            "label": "nano-gpt (sandbox)",
        }


class Embed(Classify):
    job = moderation.tasks.embed
    rows = (Embedding,)

    def set_up(self) -> None:
        self.world.settings.CLASSIFIERS = []
        use_mean_colour(self.world.settings)

    def check(self) -> list[str]:
        row = Embedding.objects.get(asset=self.asset)
        return [] if row.finished_at and not row.error else [f"embedding: {row.error or 'missing'}"]


class Rescore(Classify):
    job = moderation.tasks.rescore
    rows = (HeadRescoring,)

    def set_up(self) -> None:
        self.world.settings.CLASSIFIERS = ["learned"]
        use_mean_colour(self.world.settings)
        make_head("advisory")
        super().prepare()
        moderation.tasks.classify()

    def prepare(self) -> None:
        rescoring.request()

    def check(self) -> list[str]:
        HeadRescoring.objects.filter(due_at__isnull=False).update(**_due_now())
        self.job()
        return super().check() + ["still due"] * HeadRescoring.objects.due().count()


class Train(Scenario):
    job = moderation.tasks.train
    rows = (HeadTraining,)

    def set_up(self) -> None:
        self.world.settings.CLASSIFIERS = ["learned"]
        use_mean_colour(self.world.settings)
        learning.add_trainings()
        HeadTraining.objects.exclude(category="violence.weapons").delete()

    def prepare(self) -> None:
        HeadTraining.objects.update(**_due_now())

    def check(self) -> list[str]:
        HeadTraining.objects.filter(lease__isnull=False).update(**_due_now())
        self.job()
        return ["training is still due"] * HeadTraining.objects.due().count()


# --- Policies ---
class Reclassify(Scenario):
    job = moderation.tasks.reclassify
    rows = (Reclassification,)

    def set_up(self) -> None:
        self.world.make_review()

    def prepare(self) -> None:
        reclassification.order_resettlement(user=self.world.lead)

    def check(self) -> list[str]:
        running = Reclassification.objects.filter(status="running").count()
        left = Resettlement.objects.count()
        return [f"{running} orders run, {left} images wait"] if running or left else []


class Resettle(Reclassify):
    job = moderation.tasks.resettle
    rows = (Resettlement,)

    def prepare(self) -> None:
        super().prepare()
        moderation.tasks.reclassify()
        end_leases()


class ApplyPolicies(Scenario):
    job = moderation.tasks.apply_policies
    rows = (PolicyProposal,)
    proposal: PolicyProposal

    def prepare(self) -> None:
        later = timezone.now() + timedelta(hours=1)
        self.proposal = proposals.propose(
            policy=self.world.make_draft(), author=self.world.lead, reason="Try.", starts_at=later
        )
        proposals.approve(proposal=self.proposal, user=self.world.second_lead)
        end_leases()

    def check(self) -> list[str]:
        self.proposal.refresh_from_db()
        events = PolicyActivation.objects.filter(policy=self.proposal.policy).count()
        if (self.proposal.status, events, Policy.objects.active().pk) == (
            "applied",
            1,
            self.proposal.policy_id,
        ):
            return []
        return [f"proposal {self.proposal.status}, {events} activations"]


class TryPolicies(Scenario):
    job = moderation.tasks.try_policies
    rows = (PolicyTrial,)

    def set_up(self) -> None:
        self.draft = self.world.make_draft()
        for _ in range(3):
            self.world.decide()

    def prepare(self) -> None:
        self.trial = trials.start(
            candidate=self.draft, baseline=Policy.objects.active(), days=30, user=self.world.lead
        )

    def check(self) -> list[str]:
        trial = PolicyTrial.objects.get(pk=self.trial.pk)
        whole = trial.status == "finished"
        return [] if whole else [f"trial {trial.status}"]


class JudgeAsShadow(Scenario):
    job = moderation.tasks.judge_as_shadow
    rows = (ShadowCheck,)

    def set_up(self) -> None:
        use_steered(self.world.settings)
        shadows.start(policy=self.world.make_draft(), user=self.world.lead)

    def prepare(self) -> None:
        self.before = sum(ShadowCount.objects.values_list("images", flat=True))
        self.world.make_asset(picture(next(self.world.numbers)))
        moderation.tasks.classify()
        end_leases()

    def check(self) -> list[str]:
        counted = sum(ShadowCount.objects.values_list("images", flat=True)) - self.before
        left = ShadowCheck.objects.count()
        return [] if (counted, left) == (1, 0) else [f"{counted} counted, {left} left"]


class TryPromptRules(Scenario):
    job = moderation.tasks.try_prompt_rules
    rows = (PromptTrial,)

    def set_up(self) -> None:
        for _ in range(3):
            ask(seed=next(self.world.numbers))
        GenerationRequest.objects.update(
            due_at=None, status="cancelled", finished_at=timezone.now()
        )
        for request in GenerationRequest.objects.all():
            request.transitions.create(old="queued", new="cancelled")

    def prepare(self) -> None:
        self.trial = prompt_trials.start(rule="harbour", allowed="", days=30, user=self.world.lead)

    def check(self) -> list[str]:
        trial = PromptTrial.objects.get(pk=self.trial.pk)
        return [] if trial.status == "finished" else [f"trial {trial.status}"]


# --- Counts and the record ---
class CountDecisions(Scenario):
    job = moderation.tasks.count_decisions
    model: Any = WordStatsProgress

    def prepare(self) -> None:
        self.world.decide()

    def check(self) -> list[str]:
        self.job()
        counted, head = self.model.objects.get(pk=1).sequence, ChainHead.objects.get(pk=1).sequence
        found = self.find_miscounts()
        return found if counted == head else [*found, f"counted {counted} of {head}"]

    def find_miscounts(self) -> list[str]:
        counted = sum(DailyStats.objects.values_list("by_people", flat=True))
        made = Decision.objects.filter(by_policy=False).count()
        return [] if counted == made else [f"the days have {counted} of {made} decisions"]


class CountScores(CountDecisions):
    job = moderation.tasks.count_scores
    model = ScoreStatsProgress

    def find_miscounts(self) -> list[str]:
        return []


class Judge(Scenario):
    job = moderation.tasks.judge
    rows = (JudgementReport,)

    def set_up(self) -> None:
        judgement.add_reports()
        self.world.decide()

    def prepare(self) -> None:
        JudgementReport.objects.filter(days=7).update(**_due_now(), lease=None, attempts=0)
        JudgementReport.objects.exclude(days=7).update(due_at=None)

    def check(self) -> list[str]:
        JudgementReport.objects.filter(days=7, lease__isnull=False).update(**_due_now())
        self.job()
        return ["the report is still due"] * JudgementReport.objects.due().count()


class CountPeriods(Scenario):
    job = moderation.tasks.count_periods
    rows = (CountProgress,)

    def set_up(self) -> None:
        period_counts.add_streams()

    def prepare(self) -> None:
        self.world.decide()
        CountProgress.objects.update(**_due_now())

    def check(self) -> list[str]:
        CountProgress.objects.update(**_due_now())
        self.job()
        return ["a count is still due"] * CountProgress.objects.due().count()


class Verify(Scenario):
    job = moderation.tasks.verify
    rows = (Verification,)

    def set_up(self) -> None:
        for _ in range(3):
            self.world.decide()

    def prepare(self) -> None:
        self.row, _ = verification.start(user=self.world.lead)

    def check(self) -> list[str]:
        row = Verification.objects.get(pk=self.row.pk)
        fine = (row.status, row.faults) == ("finished", 0)
        return [] if fine else [f"verification {row.status}: {row.messages}"]


class PublishHeads(Scenario):
    job = moderation.tasks.publish_heads
    rows = (PublishedHead,)

    def set_up(self) -> None:
        self.world.settings.HEAD_PUBLISH_FILE = self.world.folder / "heads.jsonl"
        self.world.settings.HEAD_SIGNING_KEY = "a key of the head for tests: 0123456789 abcdefgh"

    def prepare(self) -> None:
        self.world.decide()
        published_heads.order()

    def check(self) -> list[str]:
        waiting = PublishedHead.objects.exclude(status__in=("published", "superseded")).count()
        _, faults = published_heads.read_file(self.world.folder / "heads.jsonl")
        # A kill within the append leaves an unfinished line, which the next append ends.
        return [f"{waiting} wait"] * bool(waiting) + [f for f in faults if "not JSON" not in f]


# --- Alarms and housekeeping ---
class CheckAlarms(Scenario):
    """One service begins to fail in each round, and that of the round before has recovered."""

    job = moderation.tasks.check_alarms
    rows = (AlarmCheck,)
    subject = ""

    def set_up(self) -> None:
        world = self.world
        world.settings.ALARM_MAIL = []
        world.settings.ALARM_WEBHOOK_URL = world.hook.url
        for limit in ("OPENS_AFTER", "CLOSES_AFTER"):
            world.monkeypatch.setattr(alarm_checks, limit, timedelta(0))

    def prepare(self) -> None:
        now = timezone.now()
        ProviderState.objects.filter(slug=self.subject).update(last_success_at=now)
        self.before, self.subject = self.subject, f"service-{next(self.world.numbers)}"
        ProviderState.objects.create(slug=self.subject, last_error_at=now, last_error="No answer.")
        alarm_checks.check_all()  # suspects it; the next check opens it
        AlarmCheck.objects.update(**_due_now())

    def check(self) -> list[str]:
        AlarmCheck.objects.update(**_due_now())
        self.job()
        moderation.tasks.send_alarm_notices()
        return self._compare(self.subject, "open", ["opened"]) + (
            self._compare(self.before, "closed", ["closed", "opened"]) if self.before else []
        )

    def _compare(self, subject: str, status: str, events: list[str]) -> list[str]:
        alarms = list(Alarm.objects.filter(subject=subject))
        sent = AlarmNotice.objects.filter(alarm__subject=subject, sent_at__isnull=False)
        found = sorted(sent.values_list("event", flat=True))
        if [alarm.status for alarm in alarms] == [status] and found == events:
            return []
        return [f"{subject}: alarms {[alarm.status for alarm in alarms]}, notices {found}"]


class SendAlarmNotices(Scenario):
    job = moderation.tasks.send_alarm_notices
    rows = (AlarmNotice,)
    set_up = CheckAlarms.set_up

    def prepare(self) -> None:
        subject = f"service-{next(self.world.numbers)}"
        self.alarm = Alarm.objects.create(kind="test", status="open", subject=subject)
        alarm_notices.order(self.alarm, AlarmNotice.Event.OPENED)

    def check(self) -> list[str]:
        waiting = AlarmNotice.objects.filter(sent_at__isnull=True).count()
        number = f'"id": "{self.alarm.pk}"'.encode()
        was_received = any(number in post.content for post in self.world.hook.posts)
        return [] if was_received and not waiting else [f"{waiting} wait, {was_received=}"]


class Retain(Scenario):
    """Removal of images by a rule."""

    job = moderation.tasks.clean_up
    part = "retention"
    rows = (RetentionRule,)

    def set_up(self) -> None:
        self.rule = RetentionRule.objects.create(
            name="All that is decided", is_on=True, days=1, **_due_now()
        )

    def prepare(self) -> None:
        self.decision = self.world.decide()
        self.files = purging.list_stored_files(Asset.objects.get(review=self.decision.review_id))
        before = timezone.now() - timedelta(days=2)
        Review.objects.filter(pk=self.decision.review_id).update(decided_at=before)
        RetentionRule.objects.update(**_due_now(), lease=None)

    def check(self) -> list[str]:
        RetentionRule.objects.update(**_due_now())
        self.job()
        asset = Asset.objects.get(review=self.decision.review_id)
        files = [name for name in self.files if storages["assets"].exists(name)]
        names = [asset.rendition.name, asset.thumbnail.name, asset.original.name, *asset.views]
        removed = Asset.objects.filter(purged_at__isnull=False).count()
        self.rule.refresh_from_db()
        found = []
        if not asset.purged_at or files or any(names) or asset.original_problem != "purged":
            found.append(f"{asset.purged_at}, {files} left, {names}, {asset.original_problem!r}")
        if self.rule.purged != removed:
            found.append(f"the rule counted {self.rule.purged} of {removed}")
        return found


class Erase(Scenario):
    """Erasure of an end user, whose upload has the content of another one's."""

    job = moderation.tasks.clean_up
    part = "erasure"
    rows = (Erasure,)
    rounds = 0

    def set_up(self) -> None:
        empty_storage()
        self.world.settings.CLASSIFIERS = []
        self.kept = [self.world.make_asset(picture(next(self.world.numbers)))]
        ask(seed=next(self.world.numbers))
        run_line(1)

    def prepare(self) -> None:
        number = next(self.world.numbers)
        self.rounds += 1
        self.end_user = f"user-{number}"
        requests = [ask(seed=number), ask(seed=next(self.world.numbers))]
        GenerationRequest.objects.filter(pk__in=[row.pk for row in requests]).update(
            end_user=self.end_user
        )
        requests[0].transitions.create(old="queued", new="cancelled")  # it has no image
        GenerationRequest.objects.filter(pk=requests[0].pk).update(
            due_at=None, status="cancelled", finished_at=timezone.now()
        )
        run_line(1)
        self.kept.append(self.world.make_asset(picture(number)))
        shared = self.world.make_asset(
            picture(number), source="api", external_id=str(number), end_user=self.end_user
        )
        own = Asset.objects.get(request=requests[1])
        self.files = purging.list_stored_files(own)
        self.erased = [shared, own]
        self.erasure = retention.order_erasure(
            end_user=self.end_user, reason="A letter.", user=self.world.lead
        )

    def recover(self) -> None:
        Erasure.objects.filter(due_at__isnull=False).update(**_due_now())
        self.job()

    def check(self) -> list[str]:
        self.erasure.refresh_from_db()
        seen = (self.erasure.status, self.erasure.images, self.erasure.requests)
        found = [] if seen == ("finished", 2, 1) else [f"the erasure: {seen}, {self.erasure.error}"]
        found += [f"{name} is left" for name in self.files if storages["assets"].exists(name)]
        for before in self.erased:
            found += _find_faults_of_tombstone(before)
        removed = Asset.objects.filter(purged_at__isnull=False).count()
        silent = GenerationRequest.objects.filter(prompt="").count()
        if (removed, silent) != (2 * self.rounds, 2 * self.rounds):
            found.append(f"{removed} images and {silent} requests are without content")
        if Asset.objects.with_files().filter(pk__in=[row.pk for row in self.kept]).count() != len(
            self.kept
        ):
            found.append("an image of somebody else was removed")
        for model in (Asset, GenerationRequest, Erasure):
            if model._default_manager.filter(end_user=self.end_user).exists():
                found.append(f"{model.__name__} still names the end user")
        ends = RetentionEvent.objects.filter(action__contains="): 2 images, 1 further")
        if ends.count() != self.rounds:
            found.append(f"{ends.count()} events for {self.rounds} erasures")
        return found


def _find_faults_of_tombstone(before: Asset) -> list[str]:
    """Compare a removed image with what it was."""
    now = Asset.objects.get(pk=before.pk)
    names = [now.rendition.name, now.thumbnail.name, now.original.name, *now.views]
    found = []
    if not now.purged_at or any(names) or now.sha256 != before.sha256:
        found.append(f"no tombstone: {now.purged_at}, {names}, {now.sha256}")
    if now.original_sha256 != before.original_sha256 or now.original_problem != "purged":
        found.append(f"the original: {now.original_sha256}, {now.original_problem}")
    if now.pdq or now.original_name or AssetText.objects.filter(asset=now).exists():
        found.append("texts or hashes are left")
    if now.review.decisions.count() != 1:
        found.append(f"{now.review.decisions.count()} decisions")
    lists = [read_stored(file.name) for file in get_asset_storage().iter_files(PURGES)]
    if not any(str(now.uuid).encode() in lines for lines in lists):
        found.append("no purge list names it")
    return found


class MeasureStorage(Scenario):
    """The scan of the storage, with two new files and a new one without a row in each round."""

    job = moderation.tasks.clean_up
    part = "storage scan"
    rows = (StorageScan,)
    orphans = 0

    def set_up(self) -> None:
        empty_storage()
        self.world.monkeypatch.setattr(storage_usage, "STEPS_KEPT", 400)
        storage_usage.add_scan()

    def prepare(self) -> None:
        self.world.make_review()
        self.orphans += 1
        _store_orphan(next(self.world.numbers))
        StorageScan.objects.update(**_due_now(), lease=None)

    def recover(self) -> None:
        StorageScan.objects.filter(lease__isnull=False).update(**_due_now())
        self.job()

    def check(self) -> list[str]:
        scan = StorageScan.objects.get()
        stored: dict[str, list[int]] = {folder: [0, 0] for folder in FOLDERS}
        for name in list_stored():
            count = stored[name.partition("/")[0]]
            count[0], count[1] = count[0] + 1, count[1] + storages["assets"].size(name)
        rows = StorageUsage.objects.filter(kind__in=FOLDERS)
        measured = {row.kind: [row.files, row.bytes] for row in rows}
        orphans = sum(row.orphans for row in rows)
        found = []
        if scan.finished_at is None or scan.position != storage_usage.STEPS or scan.error:
            found.append(f"the scan is at {scan.position}, {scan.finished_at}, {scan.error}")
        if measured != stored:
            found.append(f"measured {measured} of {stored}")
        return (
            found if orphans == self.orphans else [*found, f"{orphans} of {self.orphans} orphans"]
        )


def _store_orphan(number: int, *, age: timedelta = timedelta(hours=2), shard: str = "00") -> str:
    """Store a file without a row that was written some time ago; return its name.

    Not named by its content: the order of the names is that of the effects, in each round.
    """
    name = asset_name(f"{shard}{number:062x}", "png")
    storages["assets"].save(name, ContentFile(picture(number)))
    written = time.time() - age.total_seconds()
    os.utime(storages["assets"].path(name), (written, written))
    return name


class RepairFiles(Scenario):
    """``verify_assets`` that repairs files and deletes orphans, killed and started again."""

    def set_up(self) -> None:
        empty_storage()
        self.whole = self.world.make_review().asset
        age = timedelta(minutes=5)
        self.young = _store_orphan(next(self.world.numbers), age=age, shard="01")

    def prepare(self) -> None:
        asset = self.world.make_review().asset
        assert asset.original
        replace_stored(asset.rendition.name, b"altered")
        storages["assets"].delete(asset.thumbnail.name)
        self.files = purging.list_stored_files(asset)[:2]
        self.orphan = _store_orphan(next(self.world.numbers))

    def run(self) -> None:
        call_command("verify_assets", repair=True, delete_orphans=1, stdout=io.StringIO())

    def recover(self) -> None:
        self.run()
        sweep_temporary_files()  # a chore of each hour

    def check(self) -> list[str]:
        stored = set(list_stored())
        wanted = {*self.files, self.young, *purging.list_stored_files(self.whole)[:2]}
        found = [f"{name} is missing" for name in wanted - stored]
        return [*found, "the orphan is left"] if self.orphan in stored else found


class CleanUp(Scenario):
    job = moderation.tasks.clean_up
    rows = (Chore,)

    def set_up(self) -> None:
        housekeeping.add_chores()

    def prepare(self) -> None:
        Chore.objects.update(**_due_now(), lease=None)

    def check(self) -> list[str]:
        Chore.objects.filter(due_at__gt=timezone.now(), finished_at=None).update(**_due_now())
        Chore.objects.filter(lease__isnull=False).update(**_due_now())
        self.job()
        failed = list(Chore.objects.exclude(error="").values_list("name", "error"))
        return [f"chores failed: {failed}"] if failed else []


SCENARIOS: dict[str, type[Scenario]] = {
    f"{scenario.job.name} {scenario.part}".strip(): scenario
    for scenario in (
        Submit,
        Reconcile,
        Poll,
        Fetch,
        ImportScenario,
        Classify,
        ClassifyRemote,
        Embed,
        Rescore,
        Train,
        Reclassify,
        Resettle,
        ApplyPolicies,
        TryPolicies,
        JudgeAsShadow,
        TryPromptRules,
        Deliver,
        CountDecisions,
        CountScores,
        Judge,
        CountPeriods,
        Verify,
        PublishHeads,
        CheckAlarms,
        SendAlarmNotices,
        CleanUp,
        Retain,
        Erase,
        MeasureStorage,
    )
}
COMMANDS: dict[str, type[Scenario]] = {"verify_assets": RepairFiles}


def reset_caches() -> None:
    providers.get_provider.cache_clear()
    encoders.get.cache_clear()


def count_from(start: int) -> Any:
    return itertools.count(start)
