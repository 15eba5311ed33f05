"""Classify images in a request, in this process and without storing them.

**Classifiers.** All active ones that need no stored asset (``PictureClassifier``): open_nsfw, the
local detector, and the sandbox's reader while the sandbox is on. Remote classifiers cost money and
can take minutes, so a call never waits for them.

**Flagged.** The active policy has an NSFW level, which names categories
(``taxonomy.list_level_categories``). An image is flagged if a finding in one of them reaches the
lowest confidence from which the policy acts on it (``review_at``, ``blur_at`` or
``reject_at``). A finding of a whole L1 counts if any of its categories is on the level. A finding
without a confidence and a verdict without a finding always flag. Categories without a rule are
ignored.

**Not flagged.** Only if the policy would approve the image by these classifiers' results: each
category that it watches was covered by a classifier whose silence counts, or is accepted unchecked
by the policy, and the image has no further frames. All else is in doubt: ``Judged.flagged`` is
None.

**Known images.** Each image is looked up by its hashes, if the classifier ``hashes`` is active. The
same file as a standing rejection, or on a block list, is flagged if one of its categories is on the
level. A look-alike, and an entry without a category, is in doubt.

**All or nothing.** One image that cannot be fetched, decoded or judged, or is in doubt, fails the
whole call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from django.conf import settings

from generation import fetching, imaging
from generation.models import Asset
from generation.wire import nanogpt as wire
from moderation import classifiers
from moderation.classifiers.base import Assessment, AssetClassifier, ClassifierError
from moderation.classifiers.picture import Picture, PictureClassifier
from moderation.matches import read_matches
from moderation.models import Policy
from moderation.models.earlier_verdicts import KNOWN_IMAGES
from moderation.policy_engine import Evidence, Rules, judge_nsfw
from moderation.services.classification import build_rules, find_frame_doubts, read_level

FETCH_SECONDS = 20.0  # for all URLs of a call together
JUDGE_SECONDS = 40.0  # for the whole call; images not started by then are not started
DECODED_AT_ONCE = 2  # images of one call that are decoded in parallel
CALLS_AT_ONCE = 4  # per process: a call may have ten images of 20 MiB
_WAIT_SECONDS = 5.0

_slots = threading.BoundedSemaphore(CALLS_AT_ONCE)


class UnusableImageError(Exception):
    """An image that cannot be fetched or decoded.

    The reason is not disclosed: it would reveal which hosts this server can reach.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"Image {number} could not be read.")


class NotJudgedError(Exception):
    """An image that no classifier could judge. The images may be fine."""


class BusyError(NotJudgedError):
    """A temporary failure: the same call may succeed later."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on one image."""

    rendition: imaging.Rendition
    flagged: bool | None  # None: in doubt
    doubt: str  # the reason for the doubt
    by: tuple[str, ...]  # slugs of the classifiers that judged it


def judge(urls: Sequence[str]) -> list[Judged]:
    """Fetch, decode and judge images in parallel; return verdicts in the given order.

    ``urls`` are URLs or data URLs. Raises UnusableImageError, NotJudgedError or BusyError.
    """
    able = classifiers.list_picture_classifiers()
    if not able:
        raise NotJudgedError(
            "No classifier in use on this server can classify an image that is not "
            "stored. Its operator can turn one on (CLASSIFIERS)."
        )
    run = _Run(able, build_rules(Policy.objects.active()))
    if not _slots.acquire(timeout=_WAIT_SECONDS):
        raise BusyError("Too many images are being classified. Try again in a moment.")
    try:
        with ThreadPoolExecutor(len(urls), thread_name_prefix="judge") as threads:
            futures = [threads.submit(run.judge, number, url) for number, url in enumerate(urls, 1)]
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in errors:
            if not isinstance(error, _SkippedError):
                raise error
        return [run.conclude(future.result()) for future in futures]
    finally:
        _slots.release()


class _SkippedError(Exception):
    """The call has already failed because of another image."""


@dataclass(frozen=True, slots=True)
class _Assessed:
    """An image with the evidence about it."""

    rendition: imaging.Rendition
    evidence: list[Evidence]


class _Run:
    """The images of one call, each in its own thread and therefore without database access.

    ``conclude`` reads the database, so it runs in the thread of the call.
    """

    def __init__(self, able: list[PictureClassifier], rules: Rules) -> None:
        self._able, self._rules = able, rules
        self._started = time.monotonic()
        self._failed = threading.Event()
        self._turn = threading.Semaphore(DECODED_AT_ONCE)

    def judge(self, number: int, url: str) -> _Assessed:
        try:
            content = _load_content(url, self._left(FETCH_SECONDS))
            # Ten decompression bombs would block the decoders for a minute: limit parallel
            # decoding, and start none after a failure.
            if not self._turn.acquire(timeout=self._left(JUDGE_SECONDS)):
                raise BusyError("The images took too long to decode. Send fewer at once.")
            try:
                return self._judge(content)
            finally:
                self._turn.release()
        except (
            imaging.UnreadableImageError,
            fetching.BlockedAddressError,
            fetching.FetchError,
            ValueError,
        ):
            self._failed.set()
            raise UnusableImageError(number) from None
        except BaseException:
            self._failed.set()
            raise

    def _judge(self, content: bytes) -> _Assessed:
        if self._failed.is_set():
            raise _SkippedError
        try:
            rendition = imaging.render(content)
        except imaging.DecoderUnavailableError:
            raise BusyError("The image decoder is busy. Try again in a moment.") from None
        found = _assess(Picture.from_content(rendition.content), self._able)
        if not found:
            raise NotJudgedError("No classifier in use here knows this kind of image.")
        return _Assessed(rendition, [_build_evidence(slug, one) for slug, one in found])

    def conclude(self, image: _Assessed) -> Judged:
        """Add what is known by hashes, and apply the policy."""
        evidence = [*image.evidence, *_look_up(image.rendition)]
        doubts = find_frame_doubts(image.rendition.frames)
        verdict = judge_nsfw(self._rules, [*evidence, *doubts])
        by = tuple(item.classifier for item in evidence)
        return Judged(image.rendition, verdict.flagged, verdict.reason, by)

    def _left(self, seconds: float) -> float:
        return max(seconds - (time.monotonic() - self._started), 0.1)


def _load_content(url: str, seconds: float) -> bytes:
    """Return the bytes of an image.

    Raises ValueError, BlockedAddressError or FetchError.
    """
    if url[:5].lower() == "data:":
        return wire.from_data_url(url)
    return fetching.fetch(
        url, allow=settings.CALLER_ALLOW, deadline=seconds, max_bytes=imaging.MAX_BYTES
    ).content


def _assess(picture: Picture, able: list[PictureClassifier]) -> list[tuple[str, Assessment]]:
    """Run the classifiers. If one fails, the image is not judged, whatever the others found."""
    found: list[tuple[str, Assessment]] = []
    for classifier in able:
        try:
            assessment = classifier.assess(picture)
        except ClassifierError as error:
            if error.retryable:
                raise BusyError(
                    "A classifier could not classify an image just now. Try again in a moment."
                ) from error
            raise NotJudgedError("A classifier could not classify an image.") from error
        if assessment is not None:
            found.append((classifier.slug, assessment))
    return found


def _look_up(rendition: imaging.Rendition) -> list[Evidence]:
    """Return what earlier verdicts and hash lists say about an image; [] without a match."""
    if KNOWN_IMAGES not in settings.CLASSIFIERS:
        return []
    classifier = classifiers.get(KNOWN_IMAGES)
    assert isinstance(classifier, AssetClassifier)
    unsaved = Asset(
        sha256=rendition.sha256,
        source_sha256=rendition.source_sha256,
        pdq=rendition.pdq,
        pdq_quality=rendition.pdq_quality,
    )
    assessment = classifier.classify(unsaved)
    return [_build_evidence(KNOWN_IMAGES, assessment)] if assessment.raw else []


def _build_evidence(slug: str, assessment: Assessment) -> Evidence:
    return Evidence(
        label=classifiers.label(slug),
        findings=[(finding.category, finding.confidence) for finding in assessment.findings],
        score=assessment.score,
        score_level=read_level(assessment.raw),
        flagged=assessment.flagged,
        covers=assessment.covers,
        silence_counts=classifiers.silence_counts(slug),
        classifier=slug,
        note=assessment.note,
        matches=read_matches(assessment.raw),
        is_lookup=classifiers.is_lookup(slug),
    )
