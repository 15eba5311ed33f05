"""Snapshots of policies: the rules at one moment as JSON, for trials and shadows.

A draft may change while it is tried. The snapshot does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from moderation.models import AskRule, Policy
from moderation.policy_engine import Rules, Thresholds
from moderation.services import earned_trust
from moderation.services.classification import build_rules

Snapshot = dict[str, Any]  # JSON types only; confidences are strings
_FLAGS = (
    "may_approve",
    "requires_full_coverage",
    "approves_imports",
    "reuses_approvals",
    "trusts_allow_lists",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenPolicy:
    """A policy as it was when its snapshot was taken."""

    version: int
    rules: Rules
    # Not stored: they carry the conditions only.
    ask_rules: tuple[AskRule, ...]
    bounds: earned_trust.Bounds

    def list_limits(self) -> set[Decimal]:
        """Return every number that a confidence or score is compared with."""
        given = [self.rules.nsfw, *self.rules.per_category.values()]
        found = {
            limit for one in given for limit in (one.review_at, one.blur_at, one.reject_at) if limit
        }
        return found | {rule.asks_from for rule in self.ask_rules if rule.asks_from is not None}


def take_snapshot(policy: Policy) -> Snapshot:
    """Return a policy's rules and the bounds of earned trust as of now."""
    rules = build_rules(policy)
    return {
        "version": policy.version,
        "per_category": {
            slug: _pack_limits(limits) for slug, limits in sorted(rules.per_category.items())
        },
        "nsfw_level": rules.nsfw_level,
        "nsfw": _pack_limits(rules.nsfw),
        "trusted_silences": sorted(rules.trusted_silences),
        "accepted_unchecked": sorted(rules.accepted_unchecked),
        "earned_trusts": [
            [classifier, slug, str(most)]
            for (classifier, slug), most in sorted(rules.earned_trusts.items())
        ],
        **{name: getattr(rules, name) for name in _FLAGS},
        "ask_rules": [
            {
                "classifier": rule.classifier,
                "asks_from": None if rule.asks_from is None else str(rule.asks_from),
                "skips_rejected": rule.skips_rejected,
                "sources": list(rule.sources),
                "share": rule.share,
            }
            for rule in policy.ask_rules.all()
        ],
        "bounds": [
            [classifier, version, {slug: str(bound) for slug, bound in sorted(found.items())}]
            for (classifier, version), found in sorted(earned_trust.read_bounds(policy).items())
        ],
    }


def read_snapshot(snapshot: Snapshot) -> FrozenPolicy:
    """Return the policy of a snapshot."""
    return FrozenPolicy(
        version=snapshot["version"],
        rules=Rules(
            name=f"policy version {snapshot['version']}",
            per_category={
                slug: _unpack_limits(limits) for slug, limits in snapshot["per_category"].items()
            },
            nsfw_level=snapshot["nsfw_level"],
            nsfw=_unpack_limits(snapshot["nsfw"]),
            trusted_silences=frozenset(snapshot["trusted_silences"]),
            accepted_unchecked=frozenset(snapshot["accepted_unchecked"]),
            earned_trusts={
                (classifier, slug): Decimal(most)
                for classifier, slug, most in snapshot["earned_trusts"]
            },
            **{name: snapshot[name] for name in _FLAGS},
        ),
        ask_rules=tuple(_unpack_ask_rule(rule) for rule in snapshot["ask_rules"]),
        bounds={
            (classifier, version): {slug: Decimal(bound) for slug, bound in found.items()}
            for classifier, version, found in snapshot["bounds"]
        },
    )


def is_same(snapshot: Snapshot, policy: Policy) -> bool:
    """Return whether a policy still has the rules of a snapshot. Bounds do not matter."""
    now = take_snapshot(policy)
    return _write({**snapshot, "bounds": []}) == _write({**now, "bounds": []})


def _write(snapshot: Snapshot) -> str:
    return json.dumps(snapshot, sort_keys=True)


def _pack_limits(limits: Thresholds) -> list[str | None]:
    given = (limits.review_at, limits.blur_at, limits.reject_at)
    # Formatted like stored limits: a draft in memory may hold whole numbers.
    return [None if limit is None else f"{Decimal(limit):.2f}" for limit in given]


def _unpack_limits(stored: list[str | None]) -> Thresholds:
    review_at, blur_at, reject_at = (None if one is None else Decimal(one) for one in stored)
    return Thresholds(review_at=review_at, blur_at=blur_at, reject_at=reject_at)


def _unpack_ask_rule(stored: Mapping[str, Any]) -> AskRule:
    asks_from = stored["asks_from"]
    return AskRule(
        classifier=stored["classifier"],
        asks_from=None if asks_from is None else Decimal(asks_from),
        skips_rejected=stored["skips_rejected"],
        sources=list(stored["sources"]),
        share=stored["share"],
    )
