"""Heads: one category's probability from an embedding, learned from people's verdicts.

A head starts from a zero-shot score and leaves it only as far as the verdicts insist
(``moderation.judgement.logistic``). How strongly it may leave it is chosen on images that it was
not trained on, whole groups at a time. A gate says whether it may be used, and why not.

The same verdicts in any order give the same bytes, on the same machine with the same NumPy.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from moderation.judgement.calibration import Platt, fit_platt
from moderation.judgement.estimates import find_wilson_lower
from moderation.judgement.grouping import FOLDS, Member, assign_folds, find_groups
from moderation.judgement.logistic import Design, Floats, fit
from moderation.judgement.weights import PERSON_SHARE, cap_weights, find_largest_share

FORMAT: Final = 1  # of the JSON
# With 1,280 numbers each, 4,000 take about 200 MB and 3 s of one core.
MAXIMUM_EXAMPLES: Final = 4000
MINIMUM_POSITIVES: Final = 30
MINIMUM_GROUPS: Final = 20  # with a positive
_CLOSE: Final = 1e-3  # logits; bound of a score's error, which itself was below 1e-4
# Prior variances of the part of a score that comes from the vector. The first is nearly zero-shot
# alone.
STRENGTHS: Final = (0.01, 0.1, 1.0, 10.0, 100.0)
# Positives below which no larger strength is tried: so few cannot choose between them.
CAUTION: Final = ((10, 0.1), (MINIMUM_POSITIVES, 1.0))
ZERO_SHOT_LIMIT: Final = 8.0  # logits; a probability of 0.9997
_BLOCK: Final = 8192  # images scored at once: 40 MB at 1280 numbers

Vectors = NDArray[np.float16] | NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """People's decision on one image and one category.

    Leave out images on which the category's verdict is not known: a rejection for another reason
    is no negative.
    """

    id: str
    vector: NDArray[Any]  # [dim], the embedding
    zero_shot: float  # logit
    is_positive: bool
    person: str
    request: str = ""
    look: str = ""  # near-duplicate group
    weight: float = 1.0  # images that it stands for: 1 / probability of its audit

    @property
    def member(self) -> Member:
        return Member(self.id, self.is_positive, self.request, self.look)


@dataclass(frozen=True, slots=True)
class Origin:
    """Purpose and source of a head."""

    category: str  # slug
    encoder_version: str
    zero_shot_version: str = ""  # of the model and its prompts
    created_from: str = ""  # for example "decisions up to 4711"


@dataclass(frozen=True, slots=True)
class FoldFigures:
    """One fold: images that the head was tested on, and not trained on."""

    images: int
    positives: int
    log_loss: float
    zero_shot_log_loss: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of a head, measured in training on folds that it had not seen."""

    images: int
    positives: int
    groups: int
    positive_groups: int
    strength: float
    log_loss: float
    zero_shot_log_loss: float
    threshold: float  # probability from which the head flags
    flagged: int  # images at or above it
    flagged_positives: int
    effective_flagged: float  # independent images that these are worth
    precision_lower: float  # one-sided bound of 95 %
    largest_share: float  # of all weight, for one person
    # Share of the flagged images that would differ without that person's verdicts.
    influence: float
    folds: tuple[FoldFigures, ...]


class Condition(StrEnum):
    """Conditions of the gate."""

    POSITIVES = "positives"
    GROUPS = "groups"
    TRAINABLE = "trainable"
    LOG_LOSS = "log-loss"
    PRECISION = "precision"


@dataclass(frozen=True, slots=True)
class Failure:
    """A condition that a head does not fulfil, in plain words."""

    condition: Condition
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A trained head."""

    origin: Origin
    weights: NDArray[np.float32]
    factor: float  # of the zero-shot logit
    bias: float
    platt: Platt
    training_sha256: str
    figures: Figures

    def score(self, vectors: Vectors, zero_shot: NDArray[Any]) -> NDArray[np.float32]:
        """Return the probabilities of images: [n] from [n, dim] and [n] logits.

        Read in blocks, so the vectors may be a memory-mapped file. Raises ValueError for vectors of
        another length.
        """
        if vectors.ndim != 2 or vectors.shape[1] != len(self.weights):
            raise ValueError(f"The head needs vectors of {len(self.weights)} numbers.")
        if zero_shot.shape != (len(vectors),):
            raise ValueError(f"{len(vectors)} vectors, but {zero_shot.shape} zero-shot scores.")
        result = np.empty(len(vectors), dtype=np.float32)
        for start in range(0, len(vectors), _BLOCK):
            part = slice(start, start + _BLOCK)
            logits = vectors[part].astype(np.float32, copy=False) @ self.weights
            prior = clip_zero_shot(zero_shot[part])
            result[part] = self.platt.apply(logits + self.factor * prior + self.bias)
        return result

    def score_blocks(
        self, blocks: Iterable[tuple[Vectors, NDArray[Any]]]
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the probabilities of each block of vectors and zero-shot logits."""
        for vectors, zero_shot in blocks:
            yield self.score(vectors, zero_shot)

    def to_json(self) -> str:
        """Return the head as JSON, always the same for the same head."""
        content = {
            "format": FORMAT,
            **asdict(self.origin),
            "weights": base64.b64encode(self.weights.astype("<f4").tobytes()).decode(),
            "factor": self.factor,
            "bias": self.bias,
            "platt": asdict(self.platt),
            "training_sha256": self.training_sha256,
            "figures": asdict(self.figures),
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> Head:
        """Return the head of ``to_json``. Raises ValueError for anything else."""
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise ValueError(f"Format {content['format']} of a head is unknown.")
            figures = dict(content["figures"])
            figures["folds"] = tuple(FoldFigures(**fold) for fold in figures["folds"])
            packed = base64.b64decode(content["weights"], validate=True)
            head = cls(
                origin=Origin(**{name: content[name] for name in Origin.__slots__}),
                weights=np.frombuffer(packed, "<f4").astype(np.float32),
                factor=float(content["factor"]),
                bias=float(content["bias"]),
                platt=Platt(**content["platt"]),
                training_sha256=content["training_sha256"],
                figures=Figures(**figures),
            )
        except (KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
            raise ValueError(f"This is not a head: {type(error).__name__} {error}") from error
        numbers = [head.factor, head.bias, head.platt.slope, head.platt.offset]
        if not (len(head.weights) and np.isfinite(head.weights).all() and _are_finite(numbers)):
            raise ValueError("The numbers of this head are missing or not finite.")
        return head


@dataclass(frozen=True, slots=True)
class Training:
    """The result of a training: a head if there could be one, and what keeps it from use."""

    head: Head | None
    failures: tuple[Failure, ...]

    @property
    def is_passed(self) -> bool:
        """Return whether the head passed the gate."""
        return self.head is not None and not self.failures


def clip_zero_shot(logits: NDArray[Any]) -> Floats:
    """Return zero-shot logits within their limits: one certain error must not outweigh all else."""
    return np.clip(np.asarray(logits, dtype=np.float64), -ZERO_SHOT_LIMIT, ZERO_SHOT_LIMIT)


def _are_finite(numbers: Iterable[Any]) -> bool:
    return all(isinstance(number, float) and math.isfinite(number) for number in numbers)


@dataclass(frozen=True, slots=True, eq=False)
class _Data:
    """The examples in order of their ids, as arrays."""

    examples: tuple[Example, ...]
    design: Design
    outcomes: Floats  # 0 or 1
    weights: Floats  # capped
    groups: NDArray[np.intp]
    folds: NDArray[np.intp]
    centre: Floats
    scale: float

    @classmethod
    def of(cls, examples: Sequence[Example], person_share: float) -> _Data:
        ordered = tuple(sorted(examples, key=lambda example: example.id))
        members = [example.member for example in ordered]
        groups = find_groups(members)
        raw = np.stack([np.asarray(example.vector, np.float64) for example in ordered])
        # Mean 0 and mean square length 1, so that a strength means the same for every encoder.
        # Without outcomes, so the folds may share it.
        centre = raw.mean(axis=0)
        centred = raw - centre
        scale = math.sqrt(float((centred**2).sum(axis=1).mean())) or 1.0
        zero_shot = clip_zero_shot(np.array([example.zero_shot for example in ordered]))
        return cls(
            examples=ordered,
            design=Design.of(zero_shot, centred / scale),
            outcomes=np.array([float(example.is_positive) for example in ordered]),
            weights=cap_weights(
                [example.weight for example in ordered],
                groups,
                [example.person for example in ordered],
                person_share=person_share,
            ),
            groups=np.array(groups, dtype=np.intp),
            folds=np.array(assign_folds(members), dtype=np.intp),
            centre=centre,
            scale=scale,
        )

    def hash(self) -> str:
        """Return the SHA-256 of everything that the training depends on."""
        digest = hashlib.sha256()
        for each in self.examples:
            fields = (each.id, each.is_positive, each.person, each.request, each.look)
            line = json.dumps([*fields, float(each.zero_shot), float(each.weight)])
            digest.update(line.encode() + b"\n")
            digest.update(np.asarray(each.vector, "<f4").tobytes())
        return digest.hexdigest()


def train_head(
    examples: Sequence[Example],
    origin: Origin,
    *,
    target_precision: float,
    strengths: Sequence[float] = STRENGTHS,
    person_share: float = PERSON_SHARE,
) -> Training:
    """Train a head for one category, and hold it against the gate.

    The head flags from a probability of ``target_precision`` on. This threshold is not tuned on the
    outcomes, so its precision can be tested on the same folds. Raises ValueError for examples that
    cannot be used: too many, different lengths, an id twice, numbers that are not finite.
    """
    if not 0 < target_precision < 1:
        raise ValueError(f"A precision of {target_precision} cannot be aimed at.")
    _check_examples(examples)
    members = [example.member for example in examples]
    groups = find_groups(members)
    positive_groups = len({g for g, m in zip(groups, members, strict=True) if m.is_positive})
    negative_groups = len({g for g, m in zip(groups, members, strict=True) if not m.is_positive})
    failures = _check_numbers(sum(m.is_positive for m in members), positive_groups)
    if min(positive_groups, negative_groups) < FOLDS:
        reason = (
            f"There are {positive_groups} groups of images with the category and "
            f"{negative_groups} without; training needs {FOLDS} of each."
        )
        return Training(None, (*failures, Failure(Condition.TRAINABLE, reason)))
    data = _Data.of(examples, person_share)
    strength, scores, fits = _choose_strength(data, strengths)
    probabilities = _calibrate_across(data, scores)
    baseline = _calibrate_across(data, data.design.zero_shot)
    platt = fit_platt(scores, data.outcomes, data.weights)
    start = fits.mean(axis=0, keepdims=True)
    solution = fit(data.design, strength, data.outcomes, data.weights[None], start=start)
    influence = _measure_influence(data, strength, solution, platt, target_precision)
    figures = _measure(data, strength, probabilities, baseline, target_precision, influence)
    failures += _check_figures(figures, target_precision)
    return Training(_build_head(data, origin, solution[0], platt, figures), failures)


def _check_examples(examples: Sequence[Example]) -> None:
    if len(examples) > MAXIMUM_EXAMPLES:
        raise ValueError(
            f"{len(examples)} examples are too many: draw {MAXIMUM_EXAMPLES} at most, and give "
            f"each the weight 1 / its probability."
        )
    if not examples:
        return
    if len({example.id for example in examples}) < len(examples):
        raise ValueError("An image is among the examples twice.")
    lengths = {np.shape(example.vector) for example in examples}
    if len(lengths) > 1 or len(next(iter(lengths))) != 1:
        raise ValueError("The vectors of the examples have different lengths.")
    for example in examples:
        if not (math.isfinite(example.zero_shot) and np.isfinite(example.vector).all()):
            raise ValueError(f"The numbers of example {example.id} are not finite.")


def _check_numbers(positives: int, positive_groups: int) -> tuple[Failure, ...]:
    failures = []
    if positives < MINIMUM_POSITIVES:
        reason = f"{positives} images with the category; {MINIMUM_POSITIVES} are needed."
        failures.append(Failure(Condition.POSITIVES, reason))
    if positive_groups < MINIMUM_GROUPS:
        reason = (
            f"The images with the category come from {positive_groups} groups (one request, or one "
            f"look); {MINIMUM_GROUPS} are needed."
        )
        failures.append(Failure(Condition.GROUPS, reason))
    return tuple(failures)


def _check_figures(figures: Figures, target: float) -> tuple[Failure, ...]:
    failures = []
    if not figures.log_loss < figures.zero_shot_log_loss:
        reason = (
            f"On images that it has not seen, the head is no better than the zero-shot score alone "
            f"(log-loss {figures.log_loss:.3f} against {figures.zero_shot_log_loss:.3f})."
        )
        failures.append(Failure(Condition.LOG_LOSS, reason))
    if not figures.flagged:
        reason = f"No image reaches a probability of {target:.0%}, so nothing would be flagged."
        failures.append(Failure(Condition.PRECISION, reason))
    elif figures.precision_lower < target:
        reason = (
            f"{figures.flagged_positives} of {figures.flagged} flagged images have the category. "
            f"This shows a precision of at least {figures.precision_lower:.0%}; "
            f"{target:.0%} is the aim."
        )
        failures.append(Failure(Condition.PRECISION, reason))
    return tuple(failures)


def _choose_strength(data: _Data, strengths: Sequence[float]) -> tuple[float, Floats, Floats]:
    """Return the strength with the smallest log-loss on unseen folds, its scores there, its fits.

    Weak ones are tried first, up to the first that is worse than the one before.
    """
    best: tuple[float, float, Floats, Floats] | None = None
    fits: Floats | None = None  # of the strength before, to start from
    folds = np.arange(FOLDS)[:, None]
    seen = np.where(data.folds == folds, 0.0, data.weights)
    positives = int(data.outcomes.sum())
    limit = next((most for below, most in CAUTION if positives < below), math.inf)
    for strength in sorted(each for each in strengths if each <= limit):
        fits = fit(data.design, strength, data.outcomes, seen, start=fits, tolerance=_CLOSE)
        # Each image's score by the head that was trained without its fold.
        scores = data.design.score(fits)[data.folds, np.arange(len(data.folds))]
        loss = _average_loss(data, _calibrate_across(data, scores))
        if best is not None and loss >= best[0]:
            break
        best = (loss, strength, scores, fits)
    if best is None:
        raise ValueError("Training needs at least one strength.")
    return best[1:]


def _calibrate_across(data: _Data, scores: Floats) -> Floats:
    """Return the probabilities of scores, each by a curve that was fitted without its fold."""
    probabilities = np.empty(len(scores))
    for fold in range(FOLDS):
        seen, unseen = data.folds != fold, data.folds == fold
        curve = fit_platt(scores[seen], data.outcomes[seen], data.weights[seen])
        probabilities[unseen] = curve.apply(scores[unseen])
    return probabilities


def _average_loss(data: _Data, probabilities: Floats, mask: NDArray[np.bool_] | None = None) -> Any:
    """Return the weighted mean log-loss in nats; 0 for no images."""
    chosen = np.ones(len(probabilities), bool) if mask is None else mask
    p = np.clip(probabilities, 1e-12, 1 - 1e-12)
    losses = -np.where(data.outcomes > 0, np.log(p), np.log1p(-p))
    total = math.fsum(data.weights[chosen])
    return math.fsum((data.weights * losses)[chosen]) / total if total else 0.0


def _measure(
    data: _Data,
    strength: float,
    probabilities: Floats,
    baseline: Floats,
    threshold: float,
    influence: float,
) -> Figures:
    is_flagged = probabilities >= threshold
    hits = is_flagged & (data.outcomes > 0)
    precision, effective = _weigh_precision(data, is_flagged)
    persons = [example.person for example in data.examples]
    share = find_largest_share(data.weights, persons)
    folds = []
    for fold in range(FOLDS):
        mask = data.folds == fold
        folds.append(
            FoldFigures(
                images=int(mask.sum()),
                positives=int(data.outcomes[mask].sum()),
                log_loss=_average_loss(data, probabilities, mask),
                zero_shot_log_loss=_average_loss(data, baseline, mask),
            )
        )
    return Figures(
        images=len(data.examples),
        positives=int(data.outcomes.sum()),
        groups=len(set(data.groups.tolist())),
        positive_groups=len(set(data.groups[data.outcomes > 0].tolist())),
        strength=strength,
        log_loss=_average_loss(data, probabilities),
        zero_shot_log_loss=_average_loss(data, baseline),
        threshold=threshold,
        flagged=int(is_flagged.sum()),
        flagged_positives=int(hits.sum()),
        effective_flagged=effective,
        precision_lower=find_wilson_lower(precision * effective, effective),
        largest_share=share,
        influence=influence,
        folds=tuple(folds),
    )


def _weigh_precision(data: _Data, is_flagged: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the precision of the flagged images, and how many independent images they are worth.

    Each image counts for those that it stands for. Unequal weights are worth (Σw)² / Σw² equal ones
    (Kish 1965, Survey Sampling, 11.7), and images of one group never more than one.
    """
    weights = np.array([example.weight for example in data.examples])[is_flagged]
    if not len(weights):
        return 0.0, 0.0
    precision = min(1.0, float(weights @ data.outcomes[is_flagged]) / float(weights.sum()))
    effective = float(weights.sum()) ** 2 / float(weights @ weights)
    return precision, min(effective, float(len(set(data.groups[is_flagged].tolist()))))


def _measure_influence(
    data: _Data, strength: float, solution: Floats, platt: Platt, threshold: float
) -> float:
    """Return the share of flagged images that differ without the person of the largest weight.

    Flagged by either of the two heads; 1 if there is no other person, 0 if nothing is flagged.
    """
    totals: dict[str, float] = {}
    for example, weight in zip(data.examples, data.weights.tolist(), strict=True):
        totals[example.person] = totals.get(example.person, 0.0) + weight
    if len(totals) < 2:
        return 1.0
    person = min(totals, key=lambda name: (-totals[name], name))
    is_other = np.array([example.person != person for example in data.examples])
    without = fit(
        data.design,
        strength,
        data.outcomes,
        np.where(is_other, data.weights, 0.0)[None],
        start=solution,
        tolerance=_CLOSE,
    )
    before, after = (
        platt.apply(scores) >= threshold
        for scores in data.design.score(np.concatenate([solution, without]))
    )
    flagged = int((before | after).sum())
    return float((before ^ after).sum()) / flagged if flagged else 0.0


def _build_head(
    data: _Data, origin: Origin, solution: Floats, platt: Platt, figures: Figures
) -> Head:
    """Return the head that was trained on all folds."""
    direction = solution[2:] / data.scale
    return Head(
        origin=origin,
        weights=direction.astype(np.float32),
        factor=float(solution[1]),
        bias=float(solution[0] - direction @ data.centre),
        platt=platt,
        training_sha256=data.hash(),
        figures=figures,
    )
