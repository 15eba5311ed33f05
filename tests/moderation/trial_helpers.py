"""A thousand reviews with mixed results and decisions, and two policies to compare on them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.utils import timezone

from generation.models import Asset, Source
from moderation import taxonomy
from moderation.models import (
    AskRule,
    ChainHead,
    Classification,
    Decision,
    Label,
    Policy,
    Review,
)
from moderation.policy_engine import Thresholds
from moderation.services import policies

SLUGS = ["explicit.nudity", "explicit", "violence.weapons", "swimwear-underwear", "alcohol.use"]
FULL = {category.slug: "full" for category in taxonomy.L1}
HEURISTIC = {"violence": "heuristic", "alcohol": "partial"}
# Whole chains of decisions: verdict, by the policy, blurred, and what it refers to (reverses the
# one before, or is a second opinion on it).
PERSON, POLICY = False, True
CHAINS: list[list[tuple[str, bool, bool, str]]] = [
    [],
    [("approve", POLICY, False, "")],
    [("reject", POLICY, False, "")],
    [("approve", PERSON, False, "")],
    [("reject", PERSON, False, "")],
    [("approve", PERSON, True, "")],
    [("escalate", PERSON, False, "")],
    [("escalate", PERSON, False, ""), ("reject", PERSON, False, "")],
    [("approve", POLICY, False, ""), ("approve", PERSON, False, "second")],
    [("approve", POLICY, False, ""), ("reject", PERSON, False, "second")],
    [("reject", POLICY, False, ""), ("approve", PERSON, True, "second")],
    [("approve", PERSON, False, ""), ("reject", PERSON, False, "second")],
    [("approve", PERSON, False, ""), ("approve", PERSON, False, "second")],
    [("reject", PERSON, False, ""), ("reopen", PERSON, False, "reverses")],
    [
        ("reject", PERSON, False, ""),
        ("reopen", PERSON, False, "reverses"),
        ("approve", PERSON, False, ""),
    ],
    [
        ("approve", POLICY, False, ""),
        ("reopen", PERSON, False, "reverses"),
        ("reject", PERSON, False, ""),
    ],
]


def make_policies(user: User) -> tuple[Policy, Policy]:
    """Create a baseline and a candidate with all kinds of rules; the baseline is in force."""
    number = Decimal
    first = Policy.objects.active()
    baseline = policies.create_version(
        based_on=first,
        user=user,
        name="baseline",
        approves_imports=False,
        nsfw_level=1,
        nsfw_review_at=number(30),
        nsfw_reject_at=number(80),
        rules={
            "explicit": Thresholds(review_at=number(20), reject_at=number(80)),
            "violence": Thresholds(review_at=number(40), reject_at=number(90)),
            "swimwear-underwear": Thresholds(
                review_at=number(30), blur_at=number(60), reject_at=None
            ),
        },
    )
    candidate = policies.create_version(
        based_on=baseline,
        user=user,
        name="candidate",
        approves_imports=True,
        trusted_silences=["nudenet"],
        rules={
            "explicit": Thresholds(review_at=number(35), blur_at=number(50), reject_at=number(70)),
            "explicit.nudity": Thresholds(review_at=number(45), reject_at=number(62)),
            "violence": Thresholds(review_at=number(55), reject_at=number(85)),
            "swimwear-underwear": Thresholds(
                review_at=None, blur_at=number(50), reject_at=number(95)
            ),
            "alcohol": Thresholds(review_at=number(50), reject_at=None),
        },
    )
    AskRule.objects.create(policy=candidate, classifier="nanogpt", asks_from=15, share=60)
    AskRule.objects.create(policy=baseline, classifier="nanogpt", skips_rejected=True)
    policies.activate(policy=baseline, user=user)
    return Policy.objects.get(pk=baseline.pk), Policy.objects.get(pk=candidate.pk)


def make_record(count: int, *, people: list[User], policy: Policy) -> None:
    """Store reviews with results and decisions, the same ones in every run."""
    chance = random.Random(18)
    start, now = Review.objects.count(), timezone.now()
    assets = Asset.objects.bulk_create(
        [
            Asset(
                uuid=UUID(int=chance.getrandbits(128)),
                source=chance.choice(Source.values),
                rendition="none.png",
                thumbnail="none.png",
                preview="data:,",
                image_type="png",
                width=8,
                height=8,
                size=1,
                sha256=f"{chance.getrandbits(256):064x}",
                source_type="png",
                source_sha256=f"{chance.getrandbits(256):064x}",
                source_bytes=1,
                frames=chance.choice([1] * 20 + [3]),
            )
            for _ in range(start, start + count)
        ]
    )
    _add_runs(assets, chance)
    chains = [chance.choice(CHAINS) for _ in assets]
    reviews = Review.objects.bulk_create(
        [
            Review(
                uuid=UUID(int=chance.getrandbits(128)),
                asset=asset,
                source=asset.source,
                policy=policy,
                created_at=now - timedelta(hours=chance.randrange(24 * 35)),
                **_describe_state(chain, chance, people),
            )
            for asset, chain in zip(assets, chains, strict=True)
        ]
    )
    _add_decisions(reviews, chains, chance, people, policy)


def _add_runs(assets: list[Asset], chance: random.Random) -> None:
    runs, labels = [], []
    for asset in assets:
        for run in _draw_runs(asset, chance):
            runs.append(run)
            if run.status == "done" and chance.random() < 0.6:
                labels += [
                    Label(
                        classification=run,
                        category=chance.choice(SLUGS),
                        confidence=_draw_number(chance) if chance.random() < 0.9 else None,
                    )
                    for _ in range(chance.choice([1, 1, 1, 2, 3]))
                ]
    Classification.objects.bulk_create(runs)
    Label.objects.bulk_create(labels)


def _draw_runs(asset: Asset, chance: random.Random) -> Iterator[Classification]:
    if chance.random() < 0.02:
        return  # no classifier saw it
    fields: dict[str, Any] = {"status": "done", "covers": FULL, "asset": asset}
    if chance.random() < 0.1:  # an older version, which does not count
        yield Classification(**fields, classifier="nudenet", version="1")
    failed = chance.random() < 0.05
    yield Classification(
        **{**fields, "status": "failed" if failed else "done", "error": "Broken." * failed},
        classifier="nudenet",
        version="2",
        raw={"note": "Look here."} if chance.random() < 0.05 else {},
        flagged=chance.choice([None, True, False]),
    )
    if chance.random() < 0.6:
        yield Classification(
            **fields,
            classifier="novita",
            version="v3",
            score=_draw_number(chance) if chance.random() < 0.8 else None,
            raw=chance.choice([{"level": 0}, {"level": 1}, {"level": 2}, {}]),
        )
    if chance.random() < 0.5:
        queued = chance.random() < 0.02
        yield Classification(
            **{**fields, "covers": HEURISTIC, "status": "queued" if queued else "done"},
            classifier="nanogpt",
            version="1",
            raw=chance.choice([{}, {"no_evidence": True}, {"asking": ["explicit"]}]),
        )
    if chance.random() < 0.05:
        match = {"origin": "rejected", "text": "Known", "review": "", "distance": None}
        yield Classification(
            **{**fields, "covers": {}},
            classifier="hashes",
            version="1",
            raw={"matches": [{**match, "categories": ["explicit"]}]},
        )


def _draw_number(chance: random.Random) -> Decimal:
    # Limits themselves too, because "from 20 on" includes 20.
    return chance.choice([Decimal(chance.randrange(10_001)) / 100, Decimal(chance.randrange(101))])


def _describe_state(
    chain: list[tuple[str, bool, bool, str]], chance: random.Random, people: list[User]
) -> dict[str, Any]:
    """Return a review's columns after a chain of decisions, as the desk would store them."""
    last = chain[-1] if chain else ("", False, False, "")
    firsts = [one for one in chain if one[3] != "second"]
    verdict, by_policy, is_blurred, _ = firsts[-1] if firsts else last
    differs = last[3] == "second" and (last[0], last[2]) != (verdict, is_blurred)
    if differs or verdict == "escalate":
        return {"status": "escalated"}
    if verdict in ("", "reopen"):
        return {"status": "classifying" if not chain and chance.random() < 0.2 else "pending"}
    return {
        "status": "approved" if verdict == "approve" else "rejected",
        "is_blurred": is_blurred,
        "decided_at": timezone.now(),
        "decided_by": None if by_policy else people[0],
    }


def _add_decisions(
    reviews: list[Review],
    chains: list[list[tuple[str, bool, bool, str]]],
    chance: random.Random,
    people: list[User],
    policy: Policy,
) -> None:
    sequence, version = Decision.objects.count(), ChainHead.objects.get().version
    newest: dict[int, Decision] = {}
    for place in range(max(map(len, CHAINS))):  # each refers to stored ones
        rows = []
        for review, chain in zip(reviews, chains, strict=True):
            if place >= len(chain):
                continue
            verdict, by_policy, is_blurred, refers = chain[place]
            before = newest[review.pk] if refers else None
            sequence += 1
            person = None if by_policy else people[place % len(people)]
            names = verdict == "reject" or is_blurred
            rows.append(
                Decision(
                    review=review,
                    verdict=verdict,
                    is_blurred=is_blurred,
                    categories=chance.sample(SLUGS, chance.choice([1, 2])) if names else [],
                    by_policy=by_policy,
                    reviewer=person,
                    reviewer_name=person.username if person else "",
                    policy=policy,
                    policy_in_force=policy,
                    seconds=Decimal(chance.randrange(10, 900)) / 10
                    if person and chance.random() < 0.8
                    else None,
                    reverses=before if refers == "reverses" else None,
                    second_of=before if refers == "second" else None,
                    sequence=sequence,
                    version=version,
                    hash=f"{sequence:064x}",
                )
            )
        newest |= {row.review_id: row for row in Decision.objects.bulk_create(rows)}
