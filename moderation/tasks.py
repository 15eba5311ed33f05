"""The jobs of moderation: classifiers, webhook events, statistics and housekeeping."""

from __future__ import annotations

import itertools
from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, Q, QuerySet
from django.utils import timezone

from generation.core.db.state_machine import DueQuerySet
from generation.core.log_context import bound_contextvars
from generation.jobs import JobRun, Pool, job, wake_another
from moderation import classifiers
from moderation.api.webhooks import delivery
from moderation.classifiers.picture import Picture
from moderation.models import (
    AlarmCheck,
    AlarmNotice,
    Chore,
    Classification,
    CountProgress,
    Embedding,
    Erasure,
    HeadRescoring,
    JudgementReport,
    PolicyProposal,
    PolicyTrial,
    PromptTrial,
    PublishedHead,
    Reclassification,
    Resettlement,
    RetentionRule,
    ShadowCheck,
    StorageScan,
    Verification,
)
from moderation.services import (
    classification,
    embeddings,
    housekeeping,
    judgement,
    learning,
    period_counts,
    prompt_trials,
    proposals,
    published_heads,
    reclassification,
    remote_classification,
    rescoring,
    resettlement,
    retention,
    score_stats,
    shadows,
    statistics,
    storage_usage,
    trials,
    verification,
)
from moderation.services.alarms import checks as alarm_checks
from moderation.services.alarms import notices as alarm_notices

# A multiple of the usual numbers of local classifiers (1 to 4): a batch has whole assets.
BATCH = 12


def _local_classifications() -> DueQuerySet[Classification]:
    return Classification.objects.exclude(classifier__in=classifiers.remote())


def _remote_classifications() -> DueQuerySet[Classification]:
    return Classification.objects.filter(classifier__in=classifiers.remote())


@job(
    "classify",
    pool=Pool.COMPUTE,
    slots=settings.WORKERS,
    due=lambda: _local_classifications().due(),
)
def classify(run: JobRun) -> None:
    """Run due classifications, the longest waiting first."""
    queued = _local_classifications().filter(status=Classification.Status.QUEUED)
    while not run.expired:
        claimed = queued.claim(limit=BATCH, lease=timedelta(seconds=60), count_attempt=True)
        if not claimed:
            return
        if len(claimed) == BATCH:
            wake_another(run)
        rows = Classification.objects.filter(pk__in=[row.pk for row in claimed])
        rows = rows.select_related("asset__request").order_by("asset_id", "pk")
        for _, same_asset in itertools.groupby(rows, key=lambda row: row.asset_id):
            of_asset = list(same_asset)
            with bound_contextvars(asset_uuid=str(of_asset[0].asset.uuid)):
                _classify_asset(run, of_asset)


def _classify_asset(run: JobRun, rows: list[Classification]) -> None:
    """Run the classifications of one asset; those that read its embedding run last."""
    asset = rows[0].asset
    picture = Picture.from_asset(asset)
    by_embedding = [row for row in rows if classifiers.reads_embedding(row.classifier)]
    for row in rows:
        if row not in by_embedding:
            run.renew()
            classification.classify(classification=row, picture=picture)
    run.renew()
    embeddings.embed_along(asset=asset, picture=picture)
    for row in by_embedding:
        run.renew()
        classification.classify(classification=row, picture=picture)


@job(
    "embed",
    pool=Pool.COMPUTE,
    slots=settings.WORKERS,
    due=lambda: embeddings.find_queued(after=_local_classifications().due()).due(),
)
def embed(run: JobRun) -> None:
    """Embed the images that no classification has embedded along. Classifications go first."""
    while not run.expired:
        queued = embeddings.find_queued(after=_local_classifications().due())
        claimed = queued.claim(limit=BATCH, lease=timedelta(seconds=60), count_attempt=True)
        if not claimed:
            return
        if len(claimed) == BATCH:
            wake_another(run)
        rows = Embedding.objects.filter(pk__in=[row.pk for row in claimed])
        for row in rows.select_related("asset"):
            run.renew()
            with bound_contextvars(asset_uuid=str(row.asset.uuid)):
                embeddings.embed(row, Picture.from_asset(row.asset))


@job("classify_remote", pool=Pool.NETWORK, due=lambda: _remote_classifications().due())
def classify_remote(run: JobRun) -> None:
    """Run due classifications of remote classifiers, in batches as large as each accepts."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    for slug, classifier in classifiers.remote().items():
        queued = Classification.objects.filter(classifier=slug, status=Classification.Status.QUEUED)
        while go_on():
            claimed = queued.claim(
                limit=classifier.batch_size, lease=remote_classification.LEASE, count_attempt=True
            )
            if not claimed:
                break
            rows = Classification.objects.filter(pk__in=[row.pk for row in claimed]).select_related(
                "asset__request"
            )
            remote_classification.classify_batch(
                classifier=classifier, rows=list(rows.order_by("pk")), go_on=go_on
            )


@job("reclassify", due=lambda: Reclassification.objects.due())
def reclassify(run: JobRun) -> None:
    """Schedule the next images of orders to run classifiers again."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    reclassification.run_due(go_on=go_on)


@job("policies", due=lambda: PolicyProposal.objects.due())
def apply_policies(run: JobRun) -> None:
    """Put scheduled policies into force."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    proposals.run_due(go_on=go_on)


@job("resettle", due=lambda: Resettlement.objects.due())
def resettle(run: JobRun) -> None:
    """Apply the policy again to reviews with new results, or after a change of policy."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    resettlement.run_due(go_on=go_on)


@job("trial", due=lambda: PolicyTrial.objects.due())
def try_policies(run: JobRun) -> None:
    """Replay drafts of policies over past images."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    trials.run_due(go_on=go_on)


@job("shadow", due=lambda: ShadowCheck.objects.due())
def judge_as_shadow(run: JobRun) -> None:
    """Let shadows judge the images that were settled."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    shadows.run_due(go_on=go_on)


@job("prompt_trial", due=lambda: PromptTrial.objects.due())
def try_prompt_rules(run: JobRun) -> None:
    """Replay rules of words over past requests."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    prompt_trials.run_due(go_on=go_on)


@job("deliver", pool=Pool.NETWORK, due=delivery.is_due)
def deliver(run: JobRun) -> None:
    """Send due webhook events."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    delivery.deliver(go_on=go_on)


@job("train", due=learning.find_due)
def train(run: JobRun) -> None:
    """Train heads on people's decisions, one category after another."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    learning.run_due(go_on=go_on)


@job("rescore", due=lambda: HeadRescoring.objects.due())
def rescore(run: JobRun) -> None:
    """Apply new heads to waiting images."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    rescoring.run_due(go_on=go_on)


@job("statistics", due=statistics.find_due)
def count_decisions(run: JobRun) -> None:
    """Count new decisions into word stats and daily stats."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    statistics.count_record(go_on=go_on)


@job("scores", due=score_stats.find_due)
def count_scores(run: JobRun) -> None:
    """Count what classifiers said about new decisions and waiting images."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    score_stats.run_due(go_on=go_on)


@job("judge", due=lambda: JudgementReport.objects.due())
def judge(run: JobRun) -> None:
    """Compute the figures on classifiers that are due."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    judgement.run_due(go_on=go_on)


@job("count", due=lambda: CountProgress.objects.due())
def count_periods(run: JobRun) -> None:
    """Count arrivals, decisions, calls and the queue over time."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    period_counts.run_due(go_on=go_on)


@job("verify", due=lambda: Verification.objects.due(), time_limit=10)
def verify(run: JobRun) -> None:
    """Continue the verification of the whole record that a person started."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    verification.run_due(go_on=go_on)


@job("publish_heads", pool=Pool.NETWORK, due=lambda: PublishedHead.objects.due())
def publish_heads(run: JobRun) -> None:
    """Publish statements of the head of the chain that are due."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    published_heads.publish_due(go_on=go_on)


@job("alarms", due=lambda: AlarmCheck.objects.due())
def check_alarms(run: JobRun) -> None:
    """Open and close alarms, each minute."""
    if AlarmCheck.objects.claim(limit=1, lease=timedelta(minutes=1)):
        alarm_checks.check_all()


@job("alarm_notices", due=lambda: AlarmNotice.objects.due())
def send_alarm_notices(run: JobRun) -> None:
    """Send notices of alarms by mail and webhook."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    alarm_notices.send_due(go_on=go_on)


def _find_housekeeping() -> QuerySet[Chore]:
    """Return rows if a chore, a retention rule, an erasure or the scan of the storage is due.

    One job for all four: each is patient, and a further job would need a further process.
    """
    return Chore.objects.filter(
        Q(due_at__lte=timezone.now())
        | Exists(RetentionRule.objects.due())
        | Exists(Erasure.objects.due())
        | Exists(StorageScan.objects.due())
    )


@job("housekeeping", due=_find_housekeeping)
def clean_up(run: JobRun) -> None:
    """Run due chores, remove images, erase end users and measure the storage."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    housekeeping.run_due_chores(go_on=go_on)
    retention.run_erasures(go_on=go_on)
    retention.run_due(go_on=go_on)
    storage_usage.run_due(go_on=go_on)
