"""Groups of images that belong together, and folds that never divide one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class Member:
    """Request and look of an image, which it may share with others. An empty one is not shared."""

    id: str
    is_positive: bool
    request: str = ""  # the request that the image was made for
    look: str = ""  # its near-duplicate group


def find_groups(members: Sequence[Member]) -> tuple[int, ...]:
    """Return the number of each image's group.

    Images are in one group if they share a request or a look, directly or through others. Groups
    are numbered in the order of their first image. Source: Tarjan 1975, JACM 22, 215-225
    (union-find).
    """
    parents = list(range(len(members)))

    def find_root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    first: dict[tuple[str, str], int] = {}
    for index, member in enumerate(members):
        for kind, key in (("request", member.request), ("look", member.look)):
            if key:
                one, other = find_root(index), find_root(first.setdefault((kind, key), index))
                parents[max(one, other)] = min(one, other)
    numbers: dict[int, int] = {}
    return tuple(
        numbers.setdefault(find_root(index), len(numbers)) for index in range(len(members))
    )


def assign_folds(members: Sequence[Member], *, folds: int = FOLDS) -> tuple[int, ...]:
    """Return the fold of each image; a group is never divided.

    Positives and images are spread evenly, as far as whole groups allow. The order of the images
    does not matter.
    """
    groups = find_groups(members)
    contents: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        contents.setdefault(group, []).append(index)

    def rank(indices: list[int]) -> tuple[int, int, str]:
        name = min(members[i].id for i in indices)
        positives = sum(members[i].is_positive for i in indices)
        # Large groups first, as small ones can fill the gaps. Equal ones as if by chance.
        return -positives, -len(indices), hashlib.sha256(name.encode()).hexdigest()

    loads = [(0, 0)] * folds  # positives and images
    result = [0] * len(members)
    for indices in sorted(contents.values(), key=rank):
        positives = sum(members[i].is_positive for i in indices)
        if positives:
            fold = min(range(folds), key=lambda f: (*loads[f], f))
        else:
            fold = min(range(folds), key=lambda f: (loads[f][1], f))
        loads[fold] = (loads[fold][0] + positives, loads[fold][1] + len(indices))
        for i in indices:
            result[i] = fold
    return tuple(result)
