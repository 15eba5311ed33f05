"""Judge images that a program brings along, at once and in this process.

**Which classifiers.** Every one in use that needs no stored asset (``BytesClassifier``): the local
  detector, and the
sandbox's reader while the sandbox is on. Remote ones cost money and minutes, so a call never waits
for them.

**When an image counts as NSFW.** The policy in force has an NSFW level, which names categories
(``taxonomy.level_categories``). An image is flagged when a finding in one of them reaches the
confidence from which
that policy shows it to a person (``review_at``; ``reject_at`` where only that is set). A finding
that names a whole L1
counts when any of its categories is on the level. A finding without a number, and a verdict without
a finding, flag
always. What the policy has no rule for, it does not mind, and neither does this.

**When it does not.** Only where the policy would approve it by what these classifiers say: every
  category that it
watches was looked for by one whose silence counts. The rest is doubt: neither yes nor no
(``Judged.flagged`` is None).

**No verdict out of nothing.** One image that could not be fetched, decoded or judged by anybody
  fails them all, and so
does one in doubt.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from django.conf import settings

from generation import fetching, imaging
from generation.wire import nanogpt as wire
from moderation import classifiers
from moderation.classifiers.base import Assessment, BytesClassifier, ClassifierError
from moderation.models import Policy
from moderation.policy_engine import Evidence, Rules, judge_nsfw
from moderation.services.classification import level_in, rules_of

FETCH_SECONDS = 20.0  # for all addresses of a call together
JUDGE_SECONDS = 40.0  # for the whole call; an image that has not been begun by then is not begun
DECODED_AT_ONCE = 2  # of one call
CALLS_AT_ONCE = 4  # per process: a call may hold ten images of 20 MiB
_WAIT_SECONDS = 5.0

_slots = threading.BoundedSemaphore(CALLS_AT_ONCE)


class UnusableImageError(Exception):
    """It cannot be had or is no image. The reason is for nobody: it would tell what this server can
    reach.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"Image {number} could not be read.")


class NotJudgedError(Exception):
    """The images may be fine, but nobody here could judge one of them."""


class Busy(NotJudgedError):
    """The same call may succeed in a moment."""


@dataclass(frozen=True, slots=True)
class Judged:
    rendition: imaging.Rendition
    flagged: bool | None  # None: in doubt
    doubt: str  # why, as a sentence
    by: tuple[str, ...]  # slugs of the classifiers that looked


def judge(addresses: Sequence[str]) -> list[Judged]:
    """Fetch, decode and judge images given as addresses or data URLs, in parallel; in the order
    given.

    Raises UnusableImage, NotJudged or Busy.
    """
    able = classifiers.judging_bytes()
    if not able:
        raise NotJudgedError(
            "No classifier in use on this server can judge an image that is not stored. Its"
            " operator can switch one on (CLASSIFIERS)."
        )
    run = _Run(able, rules_of(Policy.objects.active()))
    if not _slots.acquire(timeout=_WAIT_SECONDS):
        raise Busy("Too many images are being judged. Try again in a moment.")
    try:
        with ThreadPoolExecutor(len(addresses), thread_name_prefix="judge") as threads:
            futures = [
                threads.submit(run.judge, number, address)
                for number, address in enumerate(addresses, 1)
            ]
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in errors:
            if not isinstance(error, _Skipped):
                raise error
        return [future.result() for future in futures]
    finally:
        _slots.release()


class _Skipped(Exception):
    """Another image has failed the call already."""


class _Run:
    """One call's images, each in a thread of its own, so without the database."""

    def __init__(self, able: list[BytesClassifier], rules: Rules) -> None:
        self._able, self._rules = able, rules
        self._started = time.monotonic()
        self._failed = threading.Event()
        self._turn = threading.Semaphore(DECODED_AT_ONCE)

    def judge(self, number: int, address: str) -> Judged:
        try:
            content = _content(address, self._left(FETCH_SECONDS))
            # Ten bombs would keep the decoders busy for a minute, so only so many are let in, and
            # none after a failure.
            if not self._turn.acquire(timeout=self._left(JUDGE_SECONDS)):
                raise Busy("The images took too long to decode. Send fewer at once.")
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

    def _judge(self, content: bytes) -> Judged:
        if self._failed.is_set():
            raise _Skipped
        try:
            rendition = imaging.render(content)
        except imaging.DecoderUnavailableError:
            raise Busy("The image decoder is busy. Try again in a moment.") from None
        found = _assess(rendition.content, self._able)
        if not found:
            raise NotJudgedError("No classifier in use here knows this kind of image.")
        verdict = judge_nsfw(
            self._rules, [_evidence(slug, assessment) for slug, assessment in found]
        )
        return Judged(rendition, verdict.flagged, verdict.reason, tuple(slug for slug, _ in found))

    def _left(self, seconds: float) -> float:
        return max(seconds - (time.monotonic() - self._started), 0.1)


def _content(address: str, seconds: float) -> bytes:
    """Raises ValueError, Blocked or FetchFailed."""
    if address[:5].lower() == "data:":
        return wire.from_data_url(address)
    return fetching.fetch(
        address, allow=settings.CALLER_ALLOW, deadline=seconds, max_bytes=imaging.MAX_BYTES
    ).content


def _assess(content: bytes, able: list[BytesClassifier]) -> list[tuple[str, Assessment]]:
    """One that fails makes the image unjudged, even if another has found nothing."""
    found: list[tuple[str, Assessment]] = []
    for classifier in able:
        try:
            assessment = classifier.assess(content)
        except ClassifierError as error:
            if error.retryable:
                raise Busy(
                    "A classifier could not judge an image just now. Try again in a moment."
                ) from error
            raise NotJudgedError("A classifier could not judge an image.") from error
        if assessment is not None:
            found.append((classifier.slug, assessment))
    return found


def _evidence(slug: str, assessment: Assessment) -> Evidence:
    return Evidence(
        label=classifiers.label(slug),
        findings=[(finding.category, finding.confidence) for finding in assessment.findings],
        score=assessment.score,
        score_level=level_in(assessment.raw),
        flagged=assessment.flagged,
        covers=assessment.covers,
        silence_counts=classifiers.silence_counts(slug),
        is_local=slug == classifiers.LOCAL,
        note=assessment.note,
    )
