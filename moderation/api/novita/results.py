"""The status of a request as Novita's task result. It is finished when every image is decided.

The official Python SDK fails on a null ``images``, a missing ``extra``, an incomplete
``debug_info`` or ``nsfw_detection_result``, and an undocumented status, so none of them is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from generation.models import Asset, GenerationRequest
from generation.wire import field_map
from generation.wire import task as wire
from generation.wire.request_info import dump_request_info
from moderation.api import signed_urls
from moderation.models import Decision, Review
from moderation.services.delivered_forms import PURGED, DeliveredForm, load_forms

Status = GenerationRequest.Status
GENERATED = 50  # percent of progress when all images are there; decisions make the rest
UNKNOWN = (
    "The provider's answer was lost. An operator will decide whether the images were generated."
)
GIVEN_UP = "The provider's answer was lost, and an operator gave up the request."
CANCELLED = "The request was cancelled before it was sent."
NONE_PASSED = "No image passed moderation."


@dataclass(frozen=True, slots=True)
class Place:
    """A position of a request, and the outcome of its image."""

    position: int
    verdict: str  # approved, rejected, undecided or lost
    asset: Asset | None = None
    decision: Decision | None = None
    delivered: DeliveredForm | None = None  # of an approved image

    def to_wire(self) -> dict[str, Any]:
        decision = self.decision
        return {
            "position": self.position,
            "verdict": self.verdict,
            "categories": decision.categories if decision else [],
            "decided_by": ("policy" if decision.by_policy else "person") if decision else None,
            "decided_at": decision.created_at.isoformat() if decision else None,
            "delivered": self.delivered.form if self.delivered else None,
            "delivered_reason": self._explain_delivery(),
        }

    def _explain_delivery(self) -> str | None:
        if self.asset is not None and self.asset.is_purged:
            return PURGED
        return self.delivered.reason if self.delivered else None


@dataclass(frozen=True, slots=True)
class Standing:
    status: str
    reason: str = ""
    progress: int = 0
    places: tuple[Place, ...] = ()

    @property
    def has_ended(self) -> bool:
        return self.status in (wire.STATUS_SUCCEED, wire.STATUS_FAILED)

    def passed(self) -> list[tuple[Asset, DeliveredForm]]:
        """Return the approved images; none before all are decided."""
        if self.status != wire.STATUS_SUCCEED:
            return []
        return [
            (place.asset, place.delivered)
            for place in self.places
            if place.asset and place.delivered
        ]


def reply(request: GenerationRequest, *, event: str = "", round_number: int = 0) -> dict[str, Any]:
    """Return the current task result.

    A webhook call names its ``event`` and round in ``extra.moderation``.
    """
    now = standing(request)
    moderation: dict[str, Any] = {"images": [place.to_wire() for place in now.places]}
    if event:
        moderation |= {"event": event, "round": round_number}
    extra: dict[str, Any] = {
        "seed": str(request.seed),
        "enable_nsfw_detection": request.enable_nsfw_detection,
        "debug_info": _debug_info(request, now) if now.has_ended else None,
        "moderation": moderation,
    }
    return wire.TaskResultReply(
        extra=wire.TaskExtra.model_validate(extra),
        task=wire.Task(
            task_id=str(request.uuid),
            task_type=wire.TASK_TYPE_TXT2IMG,
            status=now.status,
            reason=now.reason,
            eta=request.eta_seconds or 0,
            progress_percent=now.progress,
        ),
        images=[_image(asset, form) for asset, form in now.passed()],
    ).to_wire()


def standing(request: GenerationRequest) -> Standing:
    match request.status:
        case Status.QUEUED | Status.SUBMITTING:
            return Standing(wire.STATUS_QUEUED)
        case Status.PROCESSING:
            return Standing(wire.STATUS_PROCESSING, progress=request.progress * GENERATED // 100)
        case Status.FETCHING:
            return Standing(wire.STATUS_PROCESSING, progress=GENERATED)
        case Status.UNKNOWN:
            return Standing(wire.STATUS_PROCESSING, reason=UNKNOWN)
        case Status.CANCELLED:
            return Standing(wire.STATUS_FAILED, reason=CANCELLED)
        case Status.FAILED:
            # The stored message names the person who gave it up, which is internal.
            return Standing(
                wire.STATUS_FAILED,
                reason=GIVEN_UP if request.reason == "GIVEN_UP" else request.error,
            )
    return _judged(places(request))


def _judged(found: tuple[Place, ...]) -> Standing:
    verdicts = [place.verdict for place in found]
    undecided = verdicts.count("undecided")
    if undecided:
        done = (len(found) - undecided) * (100 - GENERATED) // len(found)
        return Standing(wire.STATUS_PROCESSING, progress=GENERATED + done, places=found)
    if "approved" in verdicts:
        return Standing(wire.STATUS_SUCCEED, progress=100, places=found)
    counts = {word: verdicts.count(word) for word in ("rejected", "lost") if word in verdicts}
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    return Standing(
        wire.STATUS_FAILED, reason=f"{NONE_PASSED} ({told})", progress=100, places=found
    )


def places(request: GenerationRequest) -> tuple[Place, ...]:
    """Return every position that was requested or delivered, in order."""
    assets = {
        asset.position: asset
        for asset in Asset.objects.filter(request=request).select_related("review")
    }
    last = _last_decisions(assets.values())
    forms = load_forms(
        asset for asset in assets.values() if asset.review.status == Review.Status.APPROVED
    )
    count = max([request.image_num, *(1 + (position or 0) for position in assets)])
    return tuple(_place(position, assets.get(position), last, forms) for position in range(count))


def _place(
    position: int,
    asset: Asset | None,
    last: dict[int, Decision],
    forms: dict[int, DeliveredForm],
) -> Place:
    if asset is None:
        return Place(position, "lost")
    review: Review = asset.review
    if not review.is_decided:
        return Place(position, "undecided", asset)
    return Place(position, str(review.status), asset, last.get(review.pk), forms.get(asset.pk))


def _last_decisions(assets: Iterable[Asset]) -> dict[int, Decision]:
    return Decision.objects.map_last_effective(asset.review.pk for asset in assets)


def _image(asset: Asset, delivered: DeliveredForm) -> wire.Image:
    return wire.Image(
        image_url=signed_urls.sign_url(asset, delivered),
        image_url_ttl=str(signed_urls.LIFETIME),
        image_type=delivered.image_type,
        nsfw_detection_result=_detection(asset.detection),
    )


def _detection(stored: dict[str, Any] | None) -> wire.NsfwDetection | None:
    """Return the provider's detection with both keys. An incomplete one is not valid."""
    if stored is None:
        return None
    confidence = stored.get("confidence")
    valid = stored.get("valid") is True and confidence is not None
    return wire.NsfwDetection(valid=valid, confidence=float(confidence or 0))


def _debug_info(request: GenerationRequest, now: Standing) -> wire.DebugInfo:
    """Return the generation parameters. ``seeds`` are in the order of ``images``."""
    seeds = [asset.seed for asset, _ in now.passed()]
    known = [seed for seed in seeds if seed is not None]
    submitted = field_map.nest(request.submission.fields)["request"]
    decided = [place.decision.created_at for place in now.places if place.decision]
    ended = [request.finished_at] if request.finished_at else []
    return wire.DebugInfo(
        request_info=dump_request_info(
            submitted, known if known and len(known) == len(seeds) else [request.seed]
        ),
        submit_time_ms=_milliseconds(request.created_at),
        execute_time_ms=_milliseconds(request.submitted_at or request.created_at),
        complete_time_ms=_milliseconds(max([request.created_at, *ended, *decided])),
    )


def _milliseconds(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))
