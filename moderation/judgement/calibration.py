"""Calibration: whether a probability says how often it is right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from moderation.judgement.estimates import Figure, estimate_wilson
from moderation.judgement.logistic import compute_sigmoid

BINS: Final = 10
_STEPS: Final = 100

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bin:
    """Images with similar probabilities."""

    mean: float  # of the probabilities
    observed: Figure  # the share of positives, with its interval and the number of images

    @property
    def count(self) -> int:
        return self.observed.n


@dataclass(frozen=True, slots=True)
class Reliability:
    """Agreement of probabilities with people's decisions."""

    bins: tuple[Bin, ...]  # lowest probability first, each with about the same number of images
    ece: float  # expected calibration error 0..1: the mean gap, weighted by the bins' counts
    brier: float  # mean squared error 0..1

    @property
    def n(self) -> int:
        return sum(each.count for each in self.bins)


def measure_reliability(
    probabilities: Sequence[float], outcomes: Sequence[bool], *, bins: int = BINS
) -> Reliability:
    """Return the reliability diagram with its figures; the order of the images does not matter.

    Bins have equal mass. Equal probabilities stay in one bin, so there can be fewer bins. Raises
    ValueError for impossible input. Source: Brier 1950, Monthly Weather Review 78, 1-3; Nixon et
    al. 2019, Measuring Calibration in Deep Learning (adaptive calibration error).
    """
    if len(probabilities) != len(outcomes) or not outcomes:
        raise ValueError(f"{len(probabilities)} probabilities, but {len(outcomes)} outcomes.")
    if bins < 1:
        raise ValueError(f"{bins} bins are impossible.")
    if not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("A probability lies between 0 and 1.")
    pairs = sorted(zip(probabilities, outcomes, strict=True))
    parts = [_measure_bin(part) for part in _cut(pairs, bins)]
    gaps = (each.count * abs(each.mean - share) for each, share in parts)
    squares = ((p - bool(outcome)) ** 2 for p, outcome in pairs)
    return Reliability(
        tuple(each for each, _ in parts),
        math.fsum(gaps) / len(pairs),
        math.fsum(squares) / len(pairs),
    )


def _cut(pairs: list[tuple[float, bool]], bins: int) -> list[list[tuple[float, bool]]]:
    """Cut sorted pairs into parts of about the same length, never between equal probabilities."""
    parts: list[list[tuple[float, bool]]] = []
    start = 0
    for index in range(1, bins + 1):
        end = max(round(len(pairs) * index / bins), start)
        while 0 < end < len(pairs) and pairs[end][0] == pairs[end - 1][0]:
            end += 1
        if end > start:
            parts.append(pairs[start:end])
        start = end
    return parts


def _measure_bin(part: list[tuple[float, bool]]) -> tuple[Bin, float]:
    hits, n = sum(bool(outcome) for _, outcome in part), len(part)
    mean = math.fsum(p for p, _ in part) / n
    return Bin(mean, estimate_wilson(hits, n, minimum=1)), hits / n


@dataclass(frozen=True, slots=True)
class Platt:
    """A logistic curve from scores to probabilities."""

    slope: float
    offset: float

    def apply(self, scores: Floats) -> Floats:
        """Return the probabilities of scores."""
        return compute_sigmoid(self.slope * scores + self.offset)


def fit_platt(scores: Floats, outcomes: Floats, weights: Floats) -> Platt:
    """Return the curve that fits the outcomes (0 or 1) best.

    The slope is never negative: a score that is worse than none says nothing. Source: Platt 1999,
    Advances in Large Margin Classifiers, 61-74, with its smoothed targets; Lin, Lin, Weng 2007,
    Machine Learning 68, 267-276 (Newton's method).
    """
    positives = float(weights @ outcomes)
    negatives = float(weights.sum()) - positives
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    targets = np.where(outcomes > 0, high, low)

    def compute_loss(values: Floats) -> float:
        logits = values[0] * scores + values[1]
        return float(weights @ (np.logaddexp(0.0, logits) - targets * logits))

    mean = float(weights @ targets) / float(weights.sum())
    constant = math.log(mean / (1 - mean))
    values = np.array([0.0, constant])
    loss = compute_loss(values)
    for _ in range(_STEPS):
        p = compute_sigmoid(values[0] * scores + values[1])
        difference, curvature = weights * (p - targets), weights * np.maximum(p * (1 - p), 1e-12)
        gradient = np.array([difference @ scores, difference.sum()])
        mixed = curvature @ scores
        hessian = np.array([[curvature @ scores**2, mixed], [mixed, curvature.sum()]])
        hessian += 1e-10 * np.eye(2)  # all scores may be equal
        step = np.linalg.solve(hessian, gradient)
        while compute_loss(values - step) > loss and np.abs(step).max() > 1e-12:
            step = step / 2
        values = values - step
        loss = compute_loss(values)
        if np.abs(step).max() < 1e-10:
            break
    if values[0] < 0:
        return Platt(0.0, constant)
    return Platt(float(values[0]), float(values[1]))
