"""Categories that sandbox pictures stand for, and the prompt words that request them.

The slugs are those of Loupe's taxonomy; a test compares the two lists. The sandbox simulates
external services, so it has its own list instead of importing the desk's. The order is part of the
marker's format: only append.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CONFIDENCE_DEFAULT = 92  # percent, if a prompt states none
CARDS_PER_PICTURE = 3


@dataclass(frozen=True, slots=True)
class Card:
    """A category that a picture can stand for."""

    slug: str
    title: str
    glyph: str  # a name in sandbox.glyphs: a neutral symbol, never a depiction
    # The lowest detection level at which Novita would report it; None: never.
    novita_level: int | None


CARDS: tuple[Card, ...] = (
    Card("explicit", "Explicit", "veil", 0),
    Card("explicit.nudity", "Explicit Nudity", "veil", 0),
    Card("explicit.sexual-activity", "Explicit Sexual Activity", "rings", 0),
    Card("explicit.sex-toys", "Sex Toys", "box", 0),
    Card("non-explicit", "Non-Explicit Nudity", "curtain", 1),
    Card("non-explicit.nudity", "Non-explicit Nudity", "curtain", 1),
    Card("non-explicit.obstructed", "Obstructed Parts", "bars", 1),
    Card("non-explicit.kissing", "Kissing", "rings", 1),
    Card("swimwear-underwear", "Swimwear or Underwear", "waves", 2),
    Card("swimwear-underwear.female", "Female Swimwear", "waves", 2),
    Card("swimwear-underwear.male", "Male Swimwear", "waves", 2),
    Card("violence", "Violence", "triangle", None),
    Card("violence.graphic", "Graphic Violence", "triangle", None),
    Card("violence.weapons", "Weapons", "shield", None),
    Card("visually-disturbing", "Visually Disturbing", "eye", None),
    Card("visually-disturbing.death", "Death and Emaciation", "hourglass", None),
    Card("visually-disturbing.crashes", "Crashes", "zigzag", None),
    Card("drugs-tobacco", "Drugs & Tobacco", "leaf", None),
    Card("drugs-tobacco.products", "Drugs & Tobacco Products", "leaf", None),
    Card("drugs-tobacco.use", "Drug & Tobacco Use", "cloud", None),
    Card("alcohol", "Alcohol", "drop", None),
    Card("alcohol.use", "Alcohol Use", "drop", None),
    Card("alcohol.beverages", "Alcoholic Beverages", "drop", None),
    Card("rude-gestures", "Rude Gestures", "bubble", None),
    Card("rude-gestures.middle-finger", "Middle Finger", "bubble", None),
    Card("gambling", "Gambling", "diamond", None),
    Card("hate-symbols", "Hate Symbols", "barred", 0),
    Card("hate-symbols.nazi", "Nazi Party Symbols", "barred", 0),
    Card("hate-symbols.white-supremacy", "White Supremacy", "barred", 0),
    Card("hate-symbols.extremist", "Extremist Symbols", "barred", 0),
)
BY_SLUG: dict[str, Card] = {card.slug: card for card in CARDS}

# Everyday words, so that demo prompts read naturally. Matched as whole words in any case;
# docs/sandbox.md repeats the table.
WORDS: dict[str, tuple[str, int]] = {
    "revolver": ("violence.weapons", 94),
    "pistol": ("violence.weapons", 93),
    "rifle": ("violence.weapons", 95),
    "sword": ("violence.weapons", 71),
    "knife": ("violence.weapons", 58),
    "brawl": ("violence.graphic", 77),
    "battle": ("violence.graphic", 62),
    "graveyard": ("visually-disturbing.death", 41),
    "skeleton": ("visually-disturbing.death", 66),
    "wreck": ("visually-disturbing.crashes", 84),
    "crash": ("visually-disturbing.crashes", 88),
    "cigarette": ("drugs-tobacco.products", 86),
    "cigar": ("drugs-tobacco.products", 83),
    "smoking": ("drugs-tobacco.use", 79),
    "whisky": ("alcohol.beverages", 91),
    "wine": ("alcohol.beverages", 82),
    "beer": ("alcohol.beverages", 87),
    "cocktail": ("alcohol.beverages", 68),
    "drunk": ("alcohol.use", 74),
    "casino": ("gambling", 93),
    "poker": ("gambling", 85),
    "roulette": ("gambling", 90),
    "bikini": ("swimwear-underwear.female", 89),
    "swimsuit": ("swimwear-underwear.female", 81),
    "lingerie": ("swimwear-underwear.female", 90),
    "swimmer": ("swimwear-underwear.male", 57),
    "kiss": ("non-explicit.kissing", 80),
    "kissing": ("non-explicit.kissing", 88),
    "nude": ("explicit.nudity", 72),
    "swastika": ("hate-symbols.nazi", 90),
    "rude": ("rude-gestures.middle-finger", 63),
}

_STEER = re.compile(r"sandbox:([a-z][a-z.-]*[a-z])(?:@(\d{1,3}))?", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class Steering:
    """Instructions in a prompt: behaviours such as ``fail``, and (slug, percent) labels."""

    behaviours: frozenset[str]
    labels: tuple[tuple[str, int], ...]

    def __contains__(self, behaviour: str) -> bool:
        return behaviour in self.behaviours


def parse_steering(prompt: str) -> Steering:
    """Parse ``sandbox:<behaviour>`` and ``sandbox:<slug>[@percent]``, then everyday words.

    ``sandbox:clean`` turns the everyday words off. Returns at most CARDS_PER_PICTURE labels,
    explicit ones first.
    """
    behaviours, labels = set[str](), dict[str, int]()
    for name, percent in _STEER.findall(prompt):
        if name.lower() in BY_SLUG:
            labels.setdefault(name.lower(), min(int(percent or CONFIDENCE_DEFAULT), 100))
        else:
            behaviours.add(name.lower())
    if "clean" not in behaviours:
        for word in _WORD.findall(_STEER.sub(" ", prompt).lower()):
            if word in WORDS:
                labels.setdefault(*WORDS[word])
    return Steering(frozenset(behaviours), tuple(labels.items())[:CARDS_PER_PICTURE])


def labels_on_image(
    labels: tuple[tuple[str, int], ...], position: int
) -> tuple[tuple[str, int], ...]:
    """Return the labels of one image: each later image is 6 points less certain, at least 1.

    A task of several images therefore has confidences on both sides of a threshold.
    """
    return tuple((slug, max(percent - 6 * position, min(percent, 1))) for slug, percent in labels)


def compute_novita_confidence(labels: tuple[tuple[str, int], ...], level: int) -> int:
    """Return the highest confidence (0..100) that Novita's detection reports at ``level``.

    Returns 0 if the level covers none of the labels.
    """
    seen = [
        percent
        for slug, percent in labels
        if (at := BY_SLUG[slug].novita_level) is not None and at <= level
    ]
    return max(seen, default=0)
