"""An asset's original and its views, as the review page shows them."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse

from generation.models import Asset

# By the codes of generation.imaging.rendition.
VIEW_NAMES = {
    "checkerboard": "On a checkerboard",
    "white": "On white",
    "black": "On black",
    "opaque": "Without transparency",
    "unmanaged": "Without colour profile",
    "frames": "All frames",
}
DIFFERENCE_NAMES = {
    "alpha": "transparency",
    "animation": "several frames",
    "colour": "a colour profile",
    "depth": "finer colour steps",
}


@dataclass(frozen=True, slots=True)
class View:
    """A picture of what the rendition does not show."""

    name: str
    url: str


def build_views(asset: Asset) -> list[View]:
    return [
        View(VIEW_NAMES[kind], reverse("generation:asset-view", args=[asset.uuid, kind]))
        for kind in asset.views
    ]


def describe_differences(asset: Asset) -> str:
    """Return how the original can look different, for example "transparency"; "" if it does not."""
    return ", ".join(DIFFERENCE_NAMES[code] for code in asset.differs)
