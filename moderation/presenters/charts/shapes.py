"""Shapes with coordinates, which the templates print as SVG."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Path:
    """A line or an area. ``kind`` is its CSS class, ``rank`` its dash pattern (0 is solid)."""

    d: str
    kind: str
    tone: str = ""
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; ``rank`` above 0 adds hatching, so that classes differ without colour."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    tone: str = ""
    rank: int = 0

    @property
    def right(self) -> float:
        return round(self.x + self.width, 1)

    @property
    def bottom(self) -> float:
        return round(self.y + self.height, 1)


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of a plot."""

    x: float
    y: float
    r: float
    kind: str = "dot"
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A text; ``anchor`` is its text-anchor."""

    x: float
    y: float
    text: str
    kind: str
    anchor: str = "start"
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Hover:
    """An invisible area that shows a tooltip."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(slots=True)
class Drawing:
    """One layout of a chart. ``plot`` is the area inside the axes."""

    width: int
    height: int
    plot: Box
    size: str = "small"
    # Below the boxes; the other paths lie above them.
    grid: list[Path] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    hovers: list[Hover] = field(default_factory=list)

    @property
    def patterns(self) -> list[tuple[str, int]]:
        """Return the tones and ranks that need hatching."""
        return sorted({(box.tone, box.rank) for box in self.boxes if box.rank})
