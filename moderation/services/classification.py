"""Classify stored assets and apply the policy to their reviews."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from generation import jobs
from generation.core.db.prepared.query import PreparedQuery, insert
from generation.models import Asset, InvalidTransitionError, ServiceCall, Source, image_search
from generation.services import service_calls, storage_checks
from moderation import classifiers, taxonomy
from moderation.classifiers.base import (
    Assessment,
    AssetClassifier,
    ClassifierError,
    ImageUnavailableError,
)
from moderation.classifiers.picture import Picture, PictureClassifier
from moderation.matches import read_matches
from moderation.models import (
    AskRule,
    Classification,
    Label,
    Policy,
    Resettlement,
    Review,
    ShadowCheck,
    Verdict,
    found_categories,
)
from moderation.models.classification_summary import SerializedRuns, serialize
from moderation.models.earlier_verdicts import KNOWN_IMAGES
from moderation.policy_engine import Evidence, Outcome, Rules, Settlement, Thresholds, settle
from moderation.services import asking, audits, earned_trust, embeddings, webhook_events
from moderation.services.audit_log import record_decision

log = logging.getLogger("loupe.classification")
Status = Classification.Status
MAX_ATTEMPTS = 3
RETRY_AFTER = timedelta(seconds=20)
EARLIER = "earlier"  # key in the raw result: the results of earlier runs of the same version


def open_review(*, asset: Asset) -> Review:
    """Create an asset's review and classifications.

    Must run in the transaction that stores the asset.
    """
    review = Review(
        asset=asset,
        source=asset.source,
        provider=asset.request.provider if asset.request else "",
        near_duplicate_group=_find_duplicate_group(asset),
        requested_by_id=_find_requester(asset),
    )
    insert(review)
    embeddings.queue(asset=asset)
    if look_up(review=review) and _settle_known(review):
        return review
    now = timezone.now()
    wanted = [
        classifier
        for classifier in classifiers.active()
        if classifier.slug != KNOWN_IMAGES and classifier.applies_to(asset)
    ]
    held = _list_classifiers_with_rules() & {classifier.slug for classifier in wanted}
    Classification.objects.bulk_create(
        [
            Classification(
                asset=asset,
                classifier=classifier.slug,
                version=classifier.version,
                due_at=None if classifier.slug in held else now,
            )
            for classifier in wanted
        ]
    )
    _wake_jobs(classifier.slug for classifier in wanted if classifier.slug not in held)
    if held or not wanted:
        settle_review(review=review)
    return review


def _list_classifiers_with_rules() -> set[str]:
    """Return the classifiers that the policy in force asks only on conditions.

    All others run at once: waiting for earlier stages would not change whether they are asked.
    """
    return set(_ASK_RULES.rows())


_ASK_RULES: PreparedQuery[Any] = PreparedQuery(
    lambda: AskRule.objects.filter(policy__is_active=True).values_list("classifier", flat=True)
)


def _wake_jobs(slugs: Iterable[str]) -> None:
    for name in {
        "classify_remote" if classifiers.is_remote(slug) else "classify" for slug in slugs
    }:
        jobs.wake(name)


_KNOWN_MATCHES: PreparedQuery[Any] = PreparedQuery(
    lambda asset: (
        Classification.objects.filter(asset=asset, classifier=KNOWN_IMAGES)
        .order_by("pk")
        .values_list("raw", flat=True)
    ),
    asset=int,
)


def look_up(*, review: Review) -> bool:
    """Look the image up among known images; return whether the stored matches changed.

    Runs when the image is stored and when its review is settled: the same file may have been
    rejected in between. A run is stored only if something matches.
    """
    if KNOWN_IMAGES not in settings.CLASSIFIERS:
        return False
    classifier = classifiers.get(KNOWN_IMAGES)
    assert isinstance(classifier, AssetClassifier)
    assessment = classifier.classify(review.asset)
    raw = _build_raw(assessment)
    if raw == (_KNOWN_MATCHES.row(asset=review.asset_id) or {}):
        return False
    run, _ = Classification.objects.update_or_create(
        asset=review.asset,
        classifier=KNOWN_IMAGES,
        version=classifier.version,
        defaults={
            "status": Status.DONE,
            "flagged": assessment.flagged,
            "raw": raw,
            "finished_at": timezone.now(),
        },
    )
    run.labels.all().delete()
    Label.objects.bulk_create(_build_labels(run, assessment))
    review.found = _combine_found(Label.objects.filter(classification__asset=review.asset_id))
    Review.objects.filter(pk=review.pk).update(found=review.found)
    return True


def _settle_known(review: Review) -> bool:
    """Settle a review by its matches alone, so that no classifier is paid; return whether it is."""
    policy, runs, settlement = _settle(review)
    if settlement.outcome is Outcome.PERSON:
        return False
    apply_settlement(
        review=review, policy=policy, settlement=settlement, classification_summary=serialize(runs)
    )
    return True


def _find_requester(asset: Asset) -> int | None:
    """Return the account that requested or imported the image, or that owns the API key."""
    request = asset.request
    person = request.requested_by_id if request else asset.stored_by_id
    return person or (asset.api_key.owner_id if asset.api_key else None)


def _find_duplicate_group(asset: Asset) -> int | None:
    """Return the near-duplicate group of an asset: the id of its first image.

    The first image gets its group when the second one arrives.
    """
    if asset.pdq is None or asset.pdq_quality < image_search.QUALITY_MIN:
        return None
    matches = image_search.find_nearest(
        bytes(asset.pdq), within=image_search.CLOSE, limit=1, besides=asset.pk
    )
    if not matches:
        return None
    nearest, _ = matches[0]
    Review.objects.filter(asset=nearest, near_duplicate_group__isnull=True).update(
        near_duplicate_group=nearest
    )
    return (
        Review.objects.filter(asset=nearest).values_list("near_duplicate_group", flat=True).first()
    )


def classify(*, classification: Classification, picture: Picture) -> None:
    """Run one claimed classification; settle the review if it was the last one.

    ``picture`` is that of its asset.
    """
    if classification.attempts > MAX_ATTEMPTS:
        give_up(
            classification,
            "The classifier crashed its worker or did not finish, several times on this image.",
        )
        return
    started = time.monotonic()
    try:
        assessment = _assess(classification, picture)
    except ClassifierError as error:
        handle_error(classification, error)
    except (LookupError, OSError) as error:
        # The classifier or the file is missing: the image was not judged, so it goes to a person.
        log.exception("classification %s failed", classification.pk)
        give_up(classification, f"It could not be judged ({type(error).__name__}).")
    else:
        store_result(
            classification, assessment, duration_ms=round(1000 * (time.monotonic() - started))
        )


def _assess(classification: Classification, picture: Picture) -> Assessment:
    """Run the classifier. Raises ClassifierError, LookupError or OSError."""
    classifier = classifiers.get(classification.classifier)
    if isinstance(classifier, PictureClassifier):
        assessment = classifier.assess(picture)
        if assessment is None:
            raise ClassifierError(f"{classifier.label} does not know this kind of image.")
        return assessment
    assert isinstance(classifier, AssetClassifier)
    return classifier.classify(classification.asset)


def handle_error(classification: Classification, error: ClassifierError) -> None:
    """Retry a classification later if that may help, else give it up and leave it to a person."""
    if isinstance(error, ImageUnavailableError):
        retry_later(
            classification,
            str(error),
            after=storage_checks.RETRY_AFTER,
            cost=error.cost,
            attempts=F("attempts") - 1,
        )
    elif error.retry_after is not None:
        # The classifier responded, so the count of attempts without a response restarts.
        retry_later(
            classification, str(error), after=error.retry_after, cost=error.cost, attempts=0
        )
    elif error.retryable and classification.attempts < MAX_ATTEMPTS:
        retry_later(classification, str(error), cost=error.cost)
    else:
        give_up(classification, str(error), cost=error.cost)


def retry_later(
    classification: Classification,
    message: str,
    *,
    after: timedelta = RETRY_AFTER,
    cost: Decimal = Decimal(0),
    **fields: Any,
) -> None:
    """Make a classification due again after a delay. ``cost`` is that of the attempt in USD."""
    _add_cost(classification, cost)
    service_calls.record_calls(
        classification.classifier,
        ServiceCall.Kind.CLASSIFY,
        ServiceCall.Outcome.RETRIED,
        cost=cost,
    )
    rows = Classification.objects.filter(
        pk=classification.pk, lease=classification.lease, status=Status.QUEUED
    )
    rows.update(due_at=timezone.now() + after, error=message, **fields)


def _add_cost(classification: Classification, cost: Decimal) -> None:
    """Count the cost of an attempt without a stored result, whoever finishes the classification."""
    if cost:
        Classification.objects.filter(pk=classification.pk).update(cost=F("cost") + cost)


def store_result(
    classification: Classification, assessment: Assessment, *, duration_ms: int
) -> None:
    """Store the result of a classification."""
    labels = _build_labels(classification, assessment)
    result: dict[str, Any] = {
        "flagged": assessment.flagged,
        "score": assessment.score,
        "covers": dict(assessment.covers),
        "cost": assessment.cost,
        "raw": _build_raw(assessment) | _keep_earlier_results(classification),
        "error": "",
    }
    _end_and_settle(classification, Status.DONE, labels=labels, duration_ms=duration_ms, **result)


def _build_raw(assessment: Assessment) -> dict[str, Any]:
    return {**assessment.raw, "note": assessment.note} if assessment.note else assessment.raw


def _keep_earlier_results(classification: Classification) -> dict[str, Any]:
    raw = classification.raw
    return {EARLIER: raw[EARLIER]} if isinstance(raw, dict) and EARLIER in raw else {}


def _build_labels(classification: Classification, assessment: Assessment) -> list[Label]:
    return [
        Label(
            classification=classification,
            category=finding.category,
            confidence=finding.confidence,
            box=[finding.box.left, finding.box.top, finding.box.width, finding.box.height]
            if finding.box
            else None,
        )
        for finding in assessment.findings
    ]


def give_up(classification: Classification, message: str, *, cost: Decimal = Decimal(0)) -> None:
    """Mark a classification as failed. ``cost`` is that of the last attempt in USD."""
    _end_and_settle(classification, Status.FAILED, labels=[], error=message, cost=cost)


_LOCKED = PreparedQuery(
    lambda asset: (
        Review.objects.filter(asset=asset).select_related("asset").select_for_update(of=("self",))
    ),
    asset=int,
)


def _end_and_settle(
    classification: Classification,
    status: str,
    *,
    labels: list[Label],
    cost: Decimal,
    **fields: Any,
) -> None:
    """Store the result and its labels and settle the review, in one transaction.

    ``cost`` is that of the last attempt in USD.
    """
    # A worker that was late, and whose run was finished and ordered again meanwhile, must not end
    # the new run: it would replace the earlier results that the new run keeps.
    same_order = {"reclassification_id": classification.reclassification_id}
    try:
        with transaction.atomic():
            classification.move_to(
                status,
                where=same_order,
                reread=False,
                due_at=None,
                finished_at=timezone.now(),
                cost=F("cost") + cost,
                **fields,
            )
            Label.objects.bulk_create(labels)
            service_calls.record_calls(
                classification.classifier,
                ServiceCall.Kind.CLASSIFY,
                ServiceCall.Outcome(status),
                milliseconds=fields.get("duration_ms"),
                cost=cost,
            )
            review = _LOCKED.row(asset=classification.asset_id)
            assert review is not None, "Every asset has a review."
            add_found_categories(review, labels)
            if review.status == Review.Status.CLASSIFYING:
                settle_review(review=review)
            else:
                request_resettlement(review)
    except InvalidTransitionError:
        log.info("classification %s was finished by somebody else", classification.pk)
        _add_cost(classification, cost)


def request_resettlement(review: Review) -> None:
    """Have the job apply the policy in force to a settled review again.

    The caller must hold the review's lock, so that the job cannot miss the latest result.
    """
    Resettlement.objects.get_or_create(review=review, defaults={"due_at": timezone.now()})
    jobs.wake("resettle")


def add_found_categories(review: Review, labels: Iterable[Label]) -> None:
    """Add the L1 categories of these labels to ``review.found``."""
    bits = _combine_found(labels)
    if bits & ~review.found:
        review.found |= bits
        Review.objects.filter(pk=review.pk).update(found=F("found").bitor(bits))


def _combine_found(labels: Iterable[Label]) -> int:
    return found_categories.combine_bits(
        label.category for label in labels if label.confidence is None or label.confidence > 0
    )


def settle_review(*, review: Review) -> None:
    """Apply the active policy once every classification has ended.

    Does nothing before that, or if the review is settled.
    """
    if review.status != Review.Status.CLASSIFYING:
        return
    runs = Classification.objects.current_for_asset(review.asset_id)
    if _is_between_stages(runs) and look_up(review=review):
        runs = Classification.objects.current_for_asset(review.asset_id)
    _release_next_stage(review, runs)
    if any(run.status == Status.QUEUED for run in runs):
        return
    settle_again(review=review, runs=runs)


def settle_again(*, review: Review, runs: list[Classification] | None = None) -> None:
    """Apply the active policy to the results of ended runs; ``runs`` if they are loaded already.

    The review is being classified, or waits without a claim and without a decision.
    """
    if look_up(review=review):
        runs = None
    policy, runs, settlement = _settle(review, runs)
    apply_settlement(
        review=review, policy=policy, settlement=settlement, classification_summary=serialize(runs)
    )


def _settle(
    review: Review, runs: list[Classification] | None = None
) -> tuple[Policy, list[Classification], Settlement]:
    """Apply the active policy to the stored results."""
    if runs is None:
        runs = Classification.objects.current_for_asset(review.asset_id)
    policy = Policy.objects.active()
    bounds = earned_trust.read_bounds(policy)
    return policy, runs, compute_settlement(review, runs, build_rules(policy), bounds)


def compute_settlement(
    review: Review,
    runs: Iterable[Classification],
    rules: Rules,
    bounds: earned_trust.Bounds,
) -> Settlement:
    """Apply rules to the newest runs of a review, without storing anything.

    ``bounds`` are those of the rules' policy.
    """
    ended = [run for run in runs if run.is_evidence]
    evidence = [*build_evidence(ended, bounds), *find_frame_doubts(review.asset.frames)]
    settlement = settle(rules, evidence, imported=review.source == Source.UPLOAD)
    if ended and all(run.status == Status.SKIPPED for run in ended):
        reasons = " ".join(dict.fromkeys(run.error for run in ended))
        return replace(settlement, reason=f"No classifier was asked. {reasons}")
    return settlement


def _is_between_stages(runs: Iterable[Classification]) -> bool:
    """Return whether runs are held while others have ended since the image was stored.

    The same file may have been rejected meanwhile, and the held classifiers may cost money.
    """
    others = [run for run in runs if run.classifier != KNOWN_IMAGES]
    return any(run.is_held for run in others) and any(run.status != Status.QUEUED for run in others)


def _release_next_stage(review: Review, runs: Iterable[Classification]) -> None:
    """Release held runs whose earlier stages have ended: to the job, or as not asked.

    The policy in force at this moment decides.
    """
    stages = {run.pk: classifiers.get_stage(run.classifier) for run in runs}
    for stage in sorted({stages[run.pk] for run in runs if run.is_held}):
        earlier = [run for run in runs if stages[run.pk] < stage]
        if any(run.status == Status.QUEUED for run in earlier):
            return
        held = [run for run in runs if run.is_held and stages[run.pk] == stage]
        _release(review, held, build_evidence(earlier))


def _release(review: Review, held: Iterable[Classification], earlier: list[Evidence]) -> None:
    """Make held runs of one stage due, or skip them."""
    policy, now = Policy.objects.active(), timezone.now()
    rules = build_rules(policy)
    asked_by = {rule.classifier: rule for rule in policy.ask_rules.all()}
    image = asking.Image(uuid=review.asset.uuid, source=review.source, earlier=earlier)
    for run in held:
        rule = asked_by.get(run.classifier)
        reason = asking.explain_skip(rule, rules, image) if rule else ""
        if reason:
            run.move_to(Status.SKIPPED, finished_at=now, error=reason, skipped_by=rule)
            service_calls.record_calls(
                run.classifier, ServiceCall.Kind.CLASSIFY, ServiceCall.Outcome.SKIPPED
            )
            continue
        # Only held rows, so that no row is released, and asked, twice.
        Classification.objects.held().filter(pk=run.pk).update(due_at=now)
        run.due_at = now
        _wake_jobs([run.classifier])


def release_stranded(*, limit: int) -> int:
    """Settle reviews whose held runs wait for no other run; return the number of these reviews.

    A run is released in the transaction that ends the last run before it, so this finds rows only
    if they were changed by hand or if a classifier has moved to another stage.
    """
    held = Classification.objects.held().filter(asset=OuterRef("asset"))
    running = Classification.objects.filter(
        asset=OuterRef("asset"), status=Status.QUEUED, due_at__isnull=False
    )
    reviews = Review.objects.filter(
        Exists(held), ~Exists(running), status=Review.Status.CLASSIFYING, decided_at__isnull=True
    )
    pks = list(reviews.order_by("pk").values_list("pk", flat=True)[:limit])
    for pk in pks:
        with transaction.atomic():
            settle_review(review=Review.objects.select_for_update().get(pk=pk))
    return len(pks)


def find_frame_doubts(frames: int) -> list[Evidence]:
    """Return evidence that no classifier can have: the original had frames that were not stored."""
    if frames == 1:
        return []
    return [
        Evidence(
            label="Loupe",
            failed=f"it has {frames} frames, and only the first was kept and classified.",
        )
    ]


def apply_settlement(
    *,
    review: Review,
    policy: Policy,
    settlement: Settlement,
    classification_summary: SerializedRuns | None = None,
) -> None:
    """Store a settlement and move the review accordingly.

    The review is being classified, or waits without a claim and without a decision.
    ``classification_summary`` is stored with the review.
    """
    before = Review.Status(review.status)
    if policy.has_shadows:
        _queue_shadow_check(review, settlement)
    fields: dict[str, Any] = {
        "classification_summary": classification_summary,
        "policy": policy,
        "reason": settlement.reason,
        "top_category": settlement.top_category,
        "top_category_l1": settlement.top_category.partition(".")[0],
        "top_confidence": settlement.confidence,
        "risk": settlement.risk,
    }
    if settlement.outcome is Outcome.PERSON:
        if before == Review.Status.PENDING:
            Review.objects.filter(pk=review.pk, status=before).update(**fields)
        else:
            review.move_to(
                Review.Status.PENDING,
                only_from=Review.Status.CLASSIFYING,
                reread=False,
                **fields,
            )
        return
    verdict = Verdict.REJECT if settlement.outcome is Outcome.REJECT else Verdict.APPROVE
    is_blurred = settlement.outcome is Outcome.BLUR
    review.classification_summary = classification_summary  # the evidence of the decision
    with transaction.atomic():
        decision = record_decision(
            review=review,
            verdict=verdict,
            categories=settlement.categories,
            is_blurred=is_blurred,
            policy_id=policy.pk,
            by_policy=True,
        )
        if audits.draw(decision, classification_summary):
            fields["second_opinion"] = Review.SecondOpinion.WANTED
        review.move_to(
            Review.Status.APPROVED if verdict == Verdict.APPROVE else Review.Status.REJECTED,
            only_from=before,
            decided_at=decision.created_at,
            claimed_by=None,
            claimed_until=None,
            is_blurred=is_blurred,
            **fields,
        )
        webhook_events.queue_events(review)


def _queue_shadow_check(review: Review, settlement: Settlement) -> None:
    """Leave the review to the shadows, which judge it after this transaction."""
    ShadowCheck.objects.update_or_create(
        review=review, defaults={"outcome": settlement.outcome, "due_at": timezone.now()}
    )
    jobs.wake("shadow")


def build_rules(policy: Policy) -> Rules:
    """Return a policy's rules in the form of the policy engine."""
    return Rules(
        name=f"policy version {policy.version}",
        per_category={
            rule.category: Thresholds(
                review_at=rule.review_at, blur_at=rule.blur_at, reject_at=rule.reject_at
            )
            for rule in policy.rules.all()
        },
        nsfw_level=policy.nsfw_level,
        nsfw=Thresholds(review_at=policy.nsfw_review_at, reject_at=policy.nsfw_reject_at),
        may_approve=policy.may_approve,
        approves_imports=policy.approves_imports,
        reuses_approvals=policy.reuses_approvals,
        trusts_allow_lists=policy.trusts_allow_lists,
        trusted_silences=frozenset(policy.trusted_silences),
        accepted_unchecked=frozenset(policy.accepted_unchecked),
        requires_full_coverage=policy.requires_full_coverage,
        earned_trusts={
            (row.classifier, row.category): row.misses_max for row in policy.earned_trusts.all()
        },
    )


def read_level(raw: Any) -> int | None:
    """Return the NSFW level of a score from a classifier's raw result; None if unknown."""
    level = raw.get("level") if isinstance(raw, dict) else None
    return level if level in taxonomy.LEVELS else None


def read_ranks(raw: Any) -> dict[str, Decimal]:
    """Return the sort keys of findings without a confidence from a classifier's raw result."""
    ranks = raw.get("ranks") if isinstance(raw, dict) else None
    if not isinstance(ranks, dict):
        return {}
    return {
        slug: Decimal(rank)
        for slug, rank in ranks.items()
        if isinstance(rank, int) and 0 <= rank <= 100
    }


def _read_slugs(raw: Any, name: str) -> frozenset[str]:
    """Return the categories that a raw result lists under a name."""
    listed = raw.get(name) if isinstance(raw, dict) else None
    return frozenset(map(str, listed)) if isinstance(listed, list) else frozenset()


def build_evidence(
    runs: Iterable[Classification], bounds: earned_trust.Bounds | None = None
) -> list[Evidence]:
    """Return classifications in the form of the policy engine.

    ``bounds`` are those of the policy; without them, no silence has earned trust. A run that was
    not asked is no evidence: it covers nothing and has not failed. Neither is a run of shadow
    heads.
    """
    return [
        build_item(
            classifier=run.classifier,
            version=run.version,
            failed="" if run.status == Status.DONE else run.error or "It has not answered yet.",
            findings=[(label.category, label.confidence) for label in run.labels.all()],
            score=run.score,
            flagged=run.flagged,
            covers=run.covers,
            raw=run.raw,
            bounds=bounds or {},
        )
        for run in runs
        if run.status != Status.SKIPPED and run.is_evidence
    ]


def build_item(
    *,
    classifier: str,
    version: str,
    failed: str,
    findings: Sequence[tuple[str, Decimal | None]],
    score: Decimal | None,
    flagged: bool | None,
    covers: Mapping[str, str],
    raw: Any,
    bounds: earned_trust.Bounds,
) -> Evidence:
    """Return the stored values of one classification in the form of the policy engine."""
    return Evidence(
        label=classifiers.label(classifier),
        failed=failed,
        findings=findings,
        score=score,
        score_level=read_level(raw),
        flagged=flagged,
        covers=covers,
        silence_counts=classifiers.silence_counts(classifier),
        classifier=classifier,
        note=str(raw.get("note", "")) if isinstance(raw, dict) else "",
        ranks=read_ranks(raw),
        matches=read_matches(raw),
        is_lookup=classifiers.is_lookup(classifier),
        sorting=_read_slugs(raw, "sorting"),
        asking=_read_slugs(raw, "asking"),
        miss_bounds=earned_trust.find_bounds(bounds, classifier, version),
    )
