"""The dossier of an image: who decided it, when, under which policy, on what evidence.

The page and its JSON are made from the same parts. A person who holds the image for a blind check
gets nothing that tells an outcome.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from generation import providers
from generation.models import GenerationRequest
from generation.wire import field_map
from moderation import classifiers, taxonomy
from moderation.models import (
    Classification,
    Decision,
    Delivery,
    HashEntry,
    NewFinding,
    Policy,
    Reclassification,
    Review,
    Verdict,
)
from moderation.models.decisions import keep_effective
from moderation.presenters import labels, originals, related, retention, traces
from moderation.services import golden_images, policy_contents
from moderation.services.chain_proof import ChainProof, prove
from moderation.services.classification import EARLIER
from moderation.services.policy_contents import Line

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# Of one image. More than a few would be a fault, and a page must end.
DECISIONS_MAX = 200
EVENTS_MAX = 50
PROMPTS = ("prompt", "negative_prompt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to the image, with its time."""

    at: datetime
    icon: str
    title: str
    author: str = ""
    details: tuple[str, ...] = ()
    decision: Decided | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyText:
    """A policy that a decision names, in words."""

    version: int
    name: str
    url: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A decision with its policies and the proof of its place in the chain."""

    row: Decision
    policy: int | None  # the version that sent it there
    policy_in_force: int | None
    proof: ChainProof
    batch_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """One run of a classifier with its answer as stored."""

    label: str
    classifier: str
    version: str
    status: str
    status_name: str
    flagged: bool | None
    score: str
    labels: tuple[str, ...]
    cost: str
    duration_ms: int | None
    finished_at: datetime | None
    error: str
    silence: str  # in place of labels
    is_evidence: bool
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    name: str
    value: str


def build_dossier(review: Review, user: User) -> dict[str, Any]:
    """Build the context of the page. A fixed number of queries, whatever happened to the image."""
    asset = review.asset
    is_blind = review.is_blind_to(user)
    request = asset.request
    if request is not None and not request.is_visible_to(user):
        request = None
    context: dict[str, Any] = {
        "review": review,
        "asset": asset,
        "is_blind": is_blind,
        "printed_at": timezone.now(),
        "facts": list(_list_file_facts(review)),
        "generation": request,
        "parameters": list(_list_parameters(request)) if request else [],
        "notes": None if request else related.read_notes(asset),
        "siblings": related.filmstrip(review, user, is_blind=is_blind),
        "views": [] if asset.is_purged else originals.build_views(asset),
        "events": [],
        **retention.build_asset_state(asset, user),
        "looked": (
            traces.list_of_asset(asset) if user.has_perm("moderation.view_accesstrace") else []
        ),
    }
    if is_blind:
        return context
    runs = list(
        Classification.objects.for_asset(asset.pk).select_related("reclassification__ordered_by")
    )
    # A golden image looks like one without decisions to the person who holds it.
    has_past = getattr(review, "was_decided", True)
    decisions = _load_decisions(review) if has_past else []
    proofs = prove(decisions)
    sources = labels.load_sources(review)
    known = related.find_known(sources, user)
    hides_matches = any(one.is_hidden for one in known)
    return context | {
        "may_mark_golden": golden_images.may_mark(review, user),
        "headline": describe_state(review, decisions),
        "reason": review.reason,
        "is_unaltered": all(proof.is_right for proof in proofs.values()),
        "answers": [_build_answer(run, hides_matches=hides_matches) for run in runs],
        "similar": related.find_similar(review, user),
        "known": known,
        "policies": _load_policies(decisions),
        "proofs": [proofs[row.pk] for row in decisions],
        "events": sorted(
            [
                *_iter_request_events(request),
                *_iter_asset_events(review),
                *_iter_run_events(runs, hides_matches=hides_matches),
                *_iter_policy_events(review, decisions),
                *_iter_decision_events(decisions, proofs),
                *(_iter_later_events(review, request) if has_past else ()),
            ],
            key=lambda event: event.at,
        ),
    }


# --- Present state ---
def describe_state(review: Review, decisions: list[Decision]) -> str:
    """Return one sentence: the state of the image, who decided it, and under which policy."""
    standing = [row for row in keep_effective(decisions) if row.second_of_id is None]
    last = standing[-1] if standing else None
    if last is None or review.status not in {*Review.DECIDED, Review.Status.ESCALATED}:
        reversal = decisions[-1] if decisions else None
        if reversal is not None and reversal.verdict == Verdict.REVERSE:
            return (
                f"{review.status_name}: {reversal.author} reversed the decision on"
                f" {_format(reversal.created_at)}."
            )
        return f"{review.status_name} since {_format(review.created_at)}."
    sentence = last.past_tense.capitalize()
    if last.categories:
        sentence += f" for {last.category_names}"
    sentence += f" by {last.author} on {_format(last.created_at)}"
    routed, in_force = _name_versions(last)
    if routed is not None and not last.by_policy:
        sentence += f", under policy version {routed}"
    if in_force is not None and in_force != routed:
        sentence += f"; version {in_force} was in force"
    if review.is_disputed:
        sentence += ". A second opinion differs"
    return sentence + "."


def _name_versions(row: Decision) -> tuple[int | None, int | None]:
    return (
        row.policy.version if row.policy else None,
        row.policy_in_force.version if row.policy_in_force else None,
    )


def _format(at: datetime) -> str:
    return f"{at:%-d %B %Y at %H:%M} UTC"


# --- Evidence ---
def _load_decisions(review: Review) -> list[Decision]:
    rows = Decision.objects.filter(review=review).order_by("sequence")
    rows = rows.select_related("policy", "policy_in_force", "second_of", "audit", "reverses")
    found = list(rows[:DECISIONS_MAX])
    for row in found:
        row.review = review
    return found


def _load_policies(decisions: Iterable[Decision]) -> list[PolicyText]:
    used = {pk for row in decisions for pk in (row.policy_id, row.policy_in_force_id) if pk}
    rows = Policy.objects.filter(pk__in=used).prefetch_related(
        "rules", "ask_rules", "earned_trusts"
    )
    return [
        PolicyText(
            version=row.version,
            name=row.name,
            url=reverse("moderation:policy-detail", args=[row.version]),
            lines=tuple(policy_contents.describe(row).values()),
        )
        for row in rows.order_by("version")
    ]


def _build_answer(run: Classification, *, hides_matches: bool) -> RawAnswer:
    is_hidden = hides_matches and classifiers.is_lookup(run.classifier)
    raw = "hidden during your second opinion on a matching image" if is_hidden else run.raw
    return RawAnswer(
        label=classifiers.label(run.classifier),
        classifier=run.classifier,
        version=run.version,
        status=run.status,
        status_name=run.get_status_display(),
        flagged=run.flagged,
        score="" if run.score is None else f"{run.score.normalize():f}",
        labels=() if is_hidden else tuple(_list_labels(run)),
        cost=f"{run.cost.normalize():f}" if run.cost else "",
        duration_ms=run.duration_ms,
        finished_at=run.finished_at,
        error="" if is_hidden else run.error,
        silence="" if is_hidden else _name_silence(run),
        is_evidence=run.is_evidence,
        raw=json.dumps(raw, indent=2, ensure_ascii=False, sort_keys=True),
    )


def _name_silence(run: Classification) -> str:
    is_answer = run.status == Classification.Status.DONE and run.is_evidence
    return "nothing found" if is_answer and not run.labels.all() else ""


def _list_labels(run: Classification) -> Iterator[str]:
    for label in sorted(run.labels.all(), key=lambda one: one.pk):
        yield _name_label(label.category, label.confidence)


def _name_label(category: str, confidence: Decimal | None) -> str:
    number = "" if confidence is None else f" {confidence.normalize():f}"
    return f"{taxonomy.join_names([category])}{number}"


def _list_file_facts(review: Review) -> Iterator[Fact]:
    asset = review.asset
    yield Fact(name="Source", value=asset.get_source_display())
    yield Fact(name="Size", value=f"{asset.width} × {asset.height} pixels, {asset.size:,} bytes")
    yield Fact(name="SHA-256 of the rendition", value=asset.sha256)
    yield Fact(name="SHA-256 of the received file", value=asset.source_sha256)
    if asset.original_sha256:
        yield Fact(name="SHA-256 of the original", value=asset.original_sha256)
    if asset.pdq:
        yield Fact(name="Perceptual hash (PDQ)", value=bytes(asset.pdq).hex())
    if asset.end_user:
        yield Fact(name="End user", value=asset.end_user)
    if asset.stored_by:
        yield Fact(name="Stored by", value=asset.stored_by.get_username())


def _list_parameters(request: GenerationRequest) -> Iterator[Fact]:
    for name in field_map.NAMES:
        value = getattr(request, name)
        if name in PROMPTS or value in (None, "", [], {}, False):
            continue
        shown = field_map.FIELDS[name].input
        label = shown.label if shown else name.replace("_", " ").capitalize()
        yield Fact(name=label, value="yes" if value is True else str(value))


# --- Events ---
def _iter_request_events(request: GenerationRequest | None) -> Iterator[Event]:
    if request is None:
        return
    key = f"API key {request.api_key.name}" if request.api_key else ""
    author = request.requested_by.get_username() if request.requested_by else key
    provider = providers.list_labels().get(request.provider, request.provider)
    yield Event(
        at=request.created_at,
        icon="send",
        title="Requested",
        author=author,
        details=(f"Provider: {provider}",),
    )
    for row in request.transitions.order_by("created_at", "pk"):
        yield Event(
            at=row.created_at,
            icon="server",
            title=f"Request {GenerationRequest.Status(row.new).label.lower()}",
            details=(row.reason,) if row.reason else (),
        )


def _iter_asset_events(review: Review) -> Iterator[Event]:
    asset = review.asset
    is_generated = asset.request_id is not None
    yield Event(
        at=asset.created_at,
        icon="download",
        title="Fetched and stored" if is_generated else "Received and stored",
        author=asset.stored_by.get_username() if asset.stored_by else "",
    )


def _iter_run_events(
    runs: Iterable[Classification], *, hides_matches: bool = False
) -> Iterator[Event]:
    orders = {}
    for run in runs:
        if run.reclassification:
            orders[run.reclassification_id] = run.reclassification
        if not (hides_matches and classifiers.is_lookup(run.classifier)):
            yield from _iter_earlier_results(run)
        if run.finished_at is None:
            continue
        answer = _build_answer(run, hides_matches=hides_matches)
        found = "; ".join(answer.labels) or answer.error or answer.silence
        yield _build_run_event(run, run.status, run.finished_at, found)
    for order in orders.values():
        yield Event(
            at=order.created_at,
            icon="refresh",
            title="Classifiers ordered to run again",
            author=order.ordered_by.get_username() if order.ordered_by else "",
        )


def _iter_earlier_results(run: Classification) -> Iterator[Event]:
    """Yield what a run answered before it was run again, as kept in its raw result."""
    earlier = run.raw.get(EARLIER, []) if isinstance(run.raw, dict) else []
    for result in earlier:
        if not result["finished_at"]:
            continue
        found = "; ".join(
            _name_label(category, None if number is None else Decimal(number))
            for category, number, _ in result["labels"]
        )
        if not found and result["status"] == Classification.Status.DONE:
            found = result["error"] or "nothing found"
        at = datetime.fromisoformat(result["finished_at"])
        yield _build_run_event(
            run, result["status"], at, found or result["error"], "run again later"
        )


def _build_run_event(
    run: Classification, status: str, at: datetime, found: str, *more: str
) -> Event:
    is_done = status == Classification.Status.DONE
    return Event(
        at=at,
        icon="activity" if is_done else "alert",
        title=f"{classifiers.label(run.classifier)}: {Classification.Status(status).label.lower()}",
        details=tuple(filter(None, (found, f"version {run.version}", *more))),
    )


def _iter_policy_events(review: Review, decisions: list[Decision]) -> Iterator[Event]:
    """Yield each new policy that was applied to the image while it waited for a decision."""
    rows = Reclassification.objects.filter(
        scope=Reclassification.Scope.WAITING,
        created_at__gte=review.created_at,
        cursor__gte=review.pk,
    )
    if decisions:
        rows = rows.filter(created_at__lt=decisions[0].created_at)
    for order in rows.select_related("ordered_by").order_by("pk")[:EVENTS_MAX]:
        yield Event(
            at=order.created_at,
            icon="refresh",
            title="Changed policy applied to the waiting images",
            author=order.ordered_by.get_username() if order.ordered_by else "",
        )


ICONS = {
    Verdict.APPROVE: "circle-check",
    Verdict.REJECT: "circle-x",
    Verdict.ESCALATE: "arrow-up",
    Verdict.REVERSE: "undo",
}


def _iter_decision_events(
    decisions: Iterable[Decision], proofs: dict[int, ChainProof]
) -> Iterator[Event]:
    for row in decisions:
        routed, in_force = _name_versions(row)
        details = [row.category_names] if row.categories else []
        if row.second_of is not None:
            outcome = "disagrees with" if row.disagrees else "agrees with"
            details.append(f"Blind second opinion, {outcome} decision {row.second_of.sequence}")
        if row.reverses is not None:
            details.append(f"Reverses decision {row.reverses.sequence}")
        if row.note:
            details.append(f"Note: {row.note}")
        yield Event(
            at=row.created_at,
            icon=ICONS[Verdict(row.verdict)],
            title=row.past_tense.capitalize(),
            author=row.author,
            details=tuple(details),
            decision=Decided(
                row=row,
                policy=routed,
                policy_in_force=in_force,
                proof=proofs[row.pk],
                batch_url=reverse("moderation:batch-detail", args=[row.batch]) if row.batch else "",
            ),
        )
        audit = getattr(row, "audit", None)
        if audit is not None:
            yield Event(
                at=audit.created_at,
                icon="eye-off",
                title="Drawn for a blind audit",
                details=(f"Probability {audit.probability}",),
            )


def _iter_later_events(review: Review, request: GenerationRequest | None) -> Iterator[Event]:
    if request is not None:
        rows = Delivery.objects.filter(request=request, finished_at__isnull=False)
        for row in rows.order_by("pk")[:EVENTS_MAX]:
            assert row.finished_at is not None
            yield Event(
                at=row.finished_at,
                icon="webhook",
                title=f"Event “{row.get_kind_display()}” {row.get_status_display().lower()}",
                details=tuple(
                    filter(None, (f"HTTP {row.answer}" if row.answer else "", row.error))
                ),
            )
    finding = NewFinding.objects.filter(review=review).select_related("seen_by").first()
    if finding is not None:
        yield Event(
            at=finding.created_at, icon="alert", title="New finding", details=(finding.reason,)
        )
        if finding.seen_at:
            yield Event(
                at=finding.seen_at,
                icon="eye",
                title="New finding checked",
                author=finding.seen_by.get_username() if finding.seen_by else "",
            )
    yield from _iter_hash_events(review)
    asset = review.asset
    if asset.purged_at is not None:
        yield Event(
            at=asset.purged_at,
            icon="trash",
            title="Files removed for good",
            details=(asset.purge_reason,),
        )


def _iter_hash_events(review: Review) -> Iterator[Event]:
    """Yield the entries of hash lists that name this file or its perceptual hash."""
    asset = review.asset
    values = [bytes.fromhex(asset.sha256), bytes.fromhex(asset.source_sha256)]
    if asset.pdq:
        values.append(bytes(asset.pdq))
    rows = HashEntry.objects.filter(value__in=values).select_related("hash_list", "added_by")
    for row in rows.order_by("pk")[:EVENTS_MAX]:
        details = [f"{row.get_algorithm_display()}, {row.hash_list.get_kind_display().lower()}"]
        if row.category:
            details.append(taxonomy.join_names([row.category]))
        yield Event(
            at=row.added_at,
            icon="hash",
            title=f"Hash put on the list “{row.hash_list.name}”",
            author=row.added_by.get_username() if row.added_by else "",
            details=tuple(details),
        )


# --- JSON ---
def build_json(review: Review, user: User) -> dict[str, Any]:
    """Return the dossier for programs: the same parts as the page."""
    found = build_dossier(review, user)
    request: GenerationRequest | None = found["generation"]
    document: dict[str, Any] = {
        "asset": str(review.asset.uuid),
        "review": str(review.uuid),
        "url": settings.PUBLIC_URL + reverse("moderation:asset-detail", args=[review.asset.uuid]),
        "at": found["printed_at"],
        "file": {fact.name: fact.value for fact in found["facts"]},
        "request": request
        and {
            "uuid": str(request.uuid),
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "parameters": {fact.name: fact.value for fact in found["parameters"]},
        },
        "removed": review.asset.purged_at
        and {
            "at": review.asset.purged_at,
            "reason": review.asset.purge_reason,
            "parts": review.asset.purged_parts.split(","),
        },
        "legal_holds": [
            {
                "uuid": str(hold.uuid),
                "about": hold.about,
                "reason": hold.reason,
                "placed_by": hold.placed_by_name,
                "placed_at": hold.created_at,
                "lifted_at": hold.lift.created_at if hasattr(hold, "lift") else None,
            }
            for hold in found["holds"]
        ],
        "siblings": [
            {"review": str(one.review.uuid), "status": one.shown.status}
            for one in found["siblings"]
        ],
        "hidden": found["is_blind"],
    }
    if found["is_blind"]:
        return document
    return document | {
        "status": review.status,
        "headline": found["headline"],
        "reason": found["reason"],
        "events": [_serialize_event(event) for event in found["events"]],
        "classifications": [
            {**asdict(one), "raw": json.loads(one.raw)} for one in found["answers"]
        ],
        "policies": [asdict(one) for one in found["policies"]],
        "look_alikes": [
            {
                "asset": str(one.review.asset.uuid),
                "status": one.shown.status,
                "distance": one.distance,
            }
            for one in found["similar"]
        ],
    }


def _serialize_event(event: Event) -> dict[str, Any]:
    found: dict[str, Any] = {
        "at": event.at,
        "title": event.title,
        "author": event.author,
        "details": event.details,
    }
    if event.decision is not None:
        found["decision"] = _serialize_decision(event.decision)
    return found


def _serialize_decision(decided: Decided) -> dict[str, Any]:
    row, proof = decided.row, decided.proof
    return {
        "uuid": str(row.uuid),
        "verdict": row.verdict,
        "is_blurred": row.is_blurred,
        "categories": row.categories,
        "note": row.note,
        "by_policy": row.by_policy,
        "seconds": row.seconds,
        "policy": decided.policy,
        "policy_in_force": decided.policy_in_force,
        "batch": row.batch and str(row.batch),
        "sequence": row.sequence,
        "hash": row.hash,
        "previous_hash": row.previous_hash,
        "is_hash_right": proof.is_hash_right,
        "is_link_right": proof.is_link_right,
        "verified_at": proof.verification and proof.verification.created_at,
        "faults_of_verification": proof.verification and proof.verification.faults,
        "published": proof.published
        and {"sequence": proof.published.sequence, "at": proof.published.created_at},
    }
