"""Learned heads: judge an image by its stored embedding, as people have decided before.

``services.learning`` trains the heads and moves them from shadow to advisory to active. A shadow
head's results are stored and change nothing. An advisory head's findings sort the queue. An active
head's findings send images to people, and reject only if the head may.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from django.db.models import Max, Q
from numpy.typing import NDArray

from moderation import taxonomy
from moderation.classifiers import encoders, zero_shot
from moderation.classifiers.base import Assessment, ClassifierError, Coverage, Finding
from moderation.classifiers.vision.layout import VisionModelError
from moderation.judgement import heads
from moderation.models.embeddings import Embedding
from moderation.models.heads import BrokenHeadError, Head, HeadChange

if TYPE_CHECKING:
    from generation.models import Asset

log = logging.getLogger("loupe.learned")
# Probability from which a category is reported. The policy decides what that means.
REPORT_AT: Final = 0.1
RULES: Final = 1  # increment whenever the rules below change
EMBEDDING_WAIT: Final = timedelta(seconds=5)
Status = Head.Status
_DECIDING = (Status.ACTIVE, Status.ADVISORY)


@dataclass(frozen=True, slots=True)
class HeadInUse:
    """A row and the head to compute with."""

    row: Head
    head: heads.Head


@functools.lru_cache(maxsize=256)
def _load(pk: int, sha256: str) -> heads.Head:
    return Head.objects.get(pk=pk, sha256=sha256).load()


def list_in_use() -> list[Head]:
    """Return the heads for embeddings of the encoder in use, without their artefacts."""
    encoder = encoders.get_active()
    if encoder is None:
        return []
    try:
        words = zero_shot.find(encoder).version
    except VisionModelError:
        return []
    return list(Head.objects.in_use(encoder.version, words).defer("artefact").order_by("pk"))


def load(rows: Iterable[Head]) -> list[HeadInUse]:
    """Return heads to compute with. Raises ClassifierError for a broken one that decides."""
    found = []
    for row in rows:
        try:
            found.append(HeadInUse(row, _load(row.pk, row.sha256)))
        except BrokenHeadError as error:
            if row.status in _DECIDING:
                raise ClassifierError(str(error)) from error
            log.warning("%s It is left out.", error)
    return found


def build_version(rows: Iterable[Head]) -> str:
    """Return the version of the set of heads that decide something.

    It has the number of the last change too: a set that is in use again needs new runs, because the
    newest run of an image counts.
    """
    changes = HeadChange.objects.filter(Q(before__in=_DECIDING) | Q(after__in=_DECIDING))
    last = changes.aggregate(last=Max("pk"))["last"] or 0
    deciding = sorted(
        [row.category, row.status, row.may_reject, row.sha256]
        for row in rows
        if row.status in _DECIDING
    )
    digest = hashlib.sha256(json.dumps(deciding).encode()).hexdigest()[:12]
    return f"{digest if deciding else 'shadow'}-c{last}-r{RULES}"


class Learned:
    """An ``AssetClassifier``: it needs the stored embedding and no pixels."""

    slug = "learned"
    label = "Learned heads"
    short_label = "Heads"
    trusted_when_silent = False
    silence = (
        "Its heads cover the categories for which a policy lead has put a head into use; what they"
        " miss is not measured."
    )
    # Runs after the embedding of the same image (moderation.tasks.classify).
    reads_embedding = True

    @property
    def version(self) -> str:
        return build_version(list_in_use())

    def applies_to(self, asset: Asset) -> bool:
        """Return whether there is a head for the encoder in use."""
        return bool(list_in_use())

    def classify(self, asset: Asset) -> Assessment:
        """Judge an asset by its embedding.

        Raises ClassifierError if an active head cannot judge it, or not yet.
        """
        rows = list_in_use()
        if not rows:
            return _abstain("No head is in use for the current encoder.")
        row = Embedding.objects.filter(asset=asset, encoder_version=rows[0].encoder_version).first()
        if row is None:
            return _abstain("The image has no embedding.")
        if row.vector is None:
            return _handle_missing(rows, row)
        vectors = encoders.unpack(row.vector)[np.newaxis]
        return judge(load(rows), vectors)[0]


def _handle_missing(rows: Sequence[Head], embedding: Embedding) -> Assessment:
    """Wait for an embedding, or say why there is none. Only active heads are waited for."""
    if not any(row.status == Status.ACTIVE for row in rows):
        return _abstain("The image has not been embedded.")
    if embedding.due_at is not None:
        raise ClassifierError("The image is not embedded yet.", retry_after=EMBEDDING_WAIT)
    raise ClassifierError(f"The image was not embedded: {embedding.error}")


def _abstain(reason: str) -> Assessment:
    return Assessment(raw={"no_evidence": reason})


def judge(in_use: Sequence[HeadInUse], vectors: NDArray[np.float32]) -> list[Assessment]:
    """Judge [n, dim] embeddings. Raises ClassifierError."""
    logits: dict[str, zero_shot.Logits] = {}
    scores = []
    for used in in_use:
        row = used.row
        try:
            if row.category not in logits:
                start = zero_shot.get_for(row.encoder_version, row.zero_shot_version)
                logits[row.category] = start.compute(vectors, row.category)
            scores.append(used.head.score(vectors, logits[row.category]))
        except (ValueError, zero_shot.ZeroShotChangedError) as error:
            raise ClassifierError(str(error)) from error
    return [
        _build_assessment(in_use, [float(each[place]) for each in scores])
        for place in range(len(vectors))
    ]


def _build_assessment(in_use: Sequence[HeadInUse], scores: Sequence[float]) -> Assessment:
    raw: dict[str, Any] = {
        "heads": [
            {
                "head": used.row.pk,
                "category": used.row.category,
                "status": used.row.status,
                "sha256": used.row.sha256[:12],
                "probability": round(score, 4),
            }
            for used, score in zip(in_use, scores, strict=True)
        ],
        "rules": RULES,
    }
    deciding = _choose_deciding(in_use, scores)
    if not deciding:
        return Assessment(raw={**raw, "no_evidence": "Only shadow heads judged it."})
    found = [slug for slug, (_, score) in deciding.items() if score >= REPORT_AT]
    found.sort(key=lambda slug: -deciding[slug][1])
    advisory = {slug for slug, (used, _) in deciding.items() if not _is_active(used)}
    return Assessment(
        findings=tuple(
            Finding(category=slug, confidence=Decimal(str(round(100 * deciding[slug][1], 2))))
            for slug in found
        ),
        flagged=_flag(deciding),
        covers=_find_coverage(deciding, found),
        raw={
            **raw,
            "sorting": sorted(slug for slug in found if slug in advisory),
            "asking": sorted(
                slug
                for slug in found
                if slug not in advisory and not deciding[slug][0].row.may_reject
            ),
        },
    )


_Deciding = dict[str, tuple[HeadInUse, float]]  # by category


def _is_active(used: HeadInUse) -> bool:
    return used.row.status == Status.ACTIVE


def _choose_deciding(in_use: Sequence[HeadInUse], scores: Sequence[float]) -> _Deciding:
    """Return one head of each category: the active one, else the advisory one."""
    chosen: _Deciding = {}
    for status in reversed(_DECIDING):
        for used, score in zip(in_use, scores, strict=True):
            if used.row.status == status:
                chosen[used.row.category] = (used, score)
    return chosen


def _flag(deciding: _Deciding) -> bool | None:
    """Return True if an active head reaches its threshold, None below that, False for nothing."""
    active = [
        (score, used.head.figures.threshold)
        for used, score in deciding.values()
        if _is_active(used)
    ]
    if any(score >= threshold for score, threshold in active):
        return True
    return False if active and all(score < REPORT_AT for score, _ in active) else None


def _find_coverage(deciding: _Deciding, found: Sequence[str]) -> dict[str, Coverage]:
    """Return the L1 categories that are covered by a head of their own, or by one for each L2.

    A category in which an advisory head finds something is not covered: nobody acts on that
    finding, so silence about the category would be wrong.
    """
    by_l1: Mapping[str, set[str]] = defaultdict(set)
    for slug in deciding:
        by_l1[taxonomy.get(slug).l1].add(slug)
    covers = {}
    for l1, slugs in by_l1.items():
        children = {child.slug for child in taxonomy.list_children(l1)}
        if l1 not in slugs and not (children and children <= slugs):
            continue
        active = all(_is_active(deciding[slug][0]) for slug in slugs)
        if not active and slugs & set(found):
            continue
        covers[l1] = Coverage.PARTIAL if active else Coverage.HEURISTIC
    return covers
