"""Groups and folds: what belongs together stays together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.judgement.grouping import Member, assign_folds, find_groups

KEYS = st.sampled_from(["", "", "a", "b", "c", "d", "e", "f"])
MEMBERS = st.lists(st.tuples(st.booleans(), KEYS, KEYS), max_size=40).map(
    lambda rows: [Member(f"{i:03}", *row) for i, row in enumerate(rows)]
)


def are_related(one: Member, other: Member) -> bool:
    return bool(one.request and one.request == other.request) or bool(
        one.look and one.look == other.look
    )


@given(MEMBERS)
def test_related_images_are_in_one_group_and_one_fold(members: list[Member]) -> None:
    groups, folds = find_groups(members), assign_folds(members)

    for i, one in enumerate(members):
        for j, other in enumerate(members):
            if are_related(one, other):
                assert groups[i] == groups[j]
            if groups[i] == groups[j]:
                assert folds[i] == folds[j]


@given(MEMBERS)
def test_groups_are_no_larger_than_their_relations(members: list[Member]) -> None:
    groups = find_groups(members)
    # The images that can be reached from each one, step by step.
    for i in range(len(members)):
        reached, border = {i}, [i]
        while border:
            here = border.pop()
            near = {
                j for j in range(len(members)) if are_related(members[here], members[j])
            } - reached
            reached |= near
            border += near
        assert {j for j, group in enumerate(groups) if group == groups[i]} == reached


@given(MEMBERS, st.randoms())
def test_folds_do_not_depend_on_the_order(members: list[Member], random: object) -> None:
    shuffled = list(members)
    random.shuffle(shuffled)

    expected = dict(zip((m.id for m in members), assign_folds(members), strict=True))
    assert dict(zip((m.id for m in shuffled), assign_folds(shuffled), strict=True)) == expected


def test_relations_join_over_several_steps() -> None:
    members = [
        Member("1", True, request="r1"),
        Member("2", True, look="l1"),
        Member("3", True, request="r2"),
        Member("4", True, request="r1", look="l1"),
        Member("5", True, request="l1", look="r2"),  # same names, other kinds
    ]

    assert find_groups(members) == (0, 0, 1, 0, 2)


@pytest.mark.parametrize("positives", [10, 33, 100])
def test_folds_get_even_shares(positives: int) -> None:
    members = [Member(f"{i:03}", i < positives, request=f"r{i // 2}") for i in range(300)]
    folds = assign_folds(members)

    images = [folds.count(fold) for fold in range(5)]
    found = [
        sum(m.is_positive for m, f in zip(members, folds, strict=True) if f == fold)
        for fold in range(5)
    ]
    assert max(images) - min(images) <= 2
    assert max(found) - min(found) <= 2
