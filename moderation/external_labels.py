"""Names that other services use for our categories: Scenario and Amazon Rekognition, old and new.

Scenario passes on Rekognition's top level
(https://docs.scenario.com/get-started/documentation/nsfw): ten or eleven lower-case values today,
two more until 4 March 2024. Its pages name the second level too. Rekognition's third level
(https://docs.aws.amazon.com/rekognition/latest/dg/moderation-api.html, model 7.0) is finer than our
taxonomy and is kept as a detail of the second. For an unknown name ``resolve`` returns None; the
caller keeps the name and sends the image to a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from moderation.taxonomy import CATEGORIES, Category

# Current values of the API. Drugs and tobacco are one category here and two there.
SCENARIO_API: dict[str, str] = {
    "explicit": "explicit",
    "non_explicit": "non-explicit",
    "swimwear_underwear": "swimwear-underwear",
    "violence": "violence",
    "visually_disturbing": "visually-disturbing",
    "drugs": "drugs-tobacco",
    "tobacco": "drugs-tobacco",
    "alcohol": "alcohol",
    "rude_gestures": "rude-gestures",
    "gambling": "gambling",
    "hate_symbols": "hate-symbols",
}
# Deprecated on 2024-03-04; assets labelled before still have them. "explicit_nudity" was a top
# level then, and "Explicit Nudity" is a second level now: the spelling tells them apart.
SCENARIO_DEPRECATED: dict[str, str] = {"explicit_nudity": "explicit", "suggestive": "non-explicit"}

# Rekognition 7.0, third level under second.
_THIRD_LEVEL: dict[str, tuple[str, ...]] = {
    "explicit.nudity": (
        "Exposed Male Genitalia",
        "Exposed Female Genitalia",
        "Exposed Buttocks or Anus",
        "Exposed Female Nipple",
    ),
    "non-explicit.nudity": (
        "Bare Back",
        "Exposed Male Nipple",
        "Partially Exposed Buttocks",
        "Partially Exposed Female Breast",
        "Implied Nudity",
    ),
    "non-explicit.obstructed": ("Obstructed Female Nipple", "Obstructed Male Genitalia"),
    "violence.graphic": (
        "Weapon Violence",
        "Physical Violence",
        "Self-Harm",
        "Blood & Gore",
        "Explosions and Blasts",
    ),
    "visually-disturbing.death": ("Emaciated Bodies", "Corpses"),
    "visually-disturbing.crashes": ("Air Crash",),
    "drugs-tobacco.products": ("Pills",),
    "drugs-tobacco.use": ("Smoking",),
    "alcohol.use": ("Drinking",),
}
# Names of Rekognition 6.1 and alternative spellings, under the current category.
_OLDER: dict[str, tuple[str, ...]] = {
    "explicit.nudity": (
        "Nudity",
        "Graphic Male Nudity",
        "Graphic Female Nudity",
        "Illustrated Explicit Nudity",
    ),
    "explicit.sexual-activity": ("Sexual Activity",),
    "explicit.sex-toys": ("Adult Toys",),
    "non-explicit": ("Sexual Situations", "Non-Explicit"),
    "non-explicit.nudity": ("Partial Nudity", "Barechested Male", "Revealing Clothes"),
    "violence.graphic": ("Graphic Violence Or Gore", "Self Injury"),
    "visually-disturbing.death": ("Hanging",),
    "drugs-tobacco.products": ("Drug Products", "Tobacco Products", "Drugs & Tobacco Products"),
    "drugs-tobacco.use": ("Drug Use", "Drug Paraphernalia", "Drugs & Tobacco Paraphernalia & Use"),
}


def resolve(name: str) -> Category | None:
    """Return the category of a name in any of the vocabularies, or None.

    Case, spaces, dashes and underscores are ignored.
    """
    found = _find(name)
    return CATEGORIES[found[0]] if found else None


def find_detail(name: str) -> str:
    """Return a known name if it is more specific than its category, else "".

    Examples: "tobacco", "Bare Back".
    """
    found = _find(name)
    return name.strip() if found and found[1] else ""


def _find(name: str) -> tuple[str, bool] | None:
    spelt = name.strip().casefold()
    return _VERBATIM.get(spelt) or _NORMALISED.get(_normalise(spelt))


def _normalise(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", name.casefold().replace("&", " and ")).strip()


def _iter_names() -> Iterator[tuple[str, str, bool]]:
    """Yield name, slug, and whether the name is more specific than the category.

    The first entry of a name wins.
    """
    for slug, category in CATEGORIES.items():
        yield slug, slug, False
        yield category.name, slug, False
    for name, slug in SCENARIO_API.items():
        yield name, slug, name in ("drugs", "tobacco")
    for name, slug in SCENARIO_DEPRECATED.items():
        yield name, slug, True
    for table in (_THIRD_LEVEL, _OLDER):
        for slug, names in table.items():
            yield from ((name, slug, True) for name in names)


_VERBATIM: dict[str, tuple[str, bool]] = {
    **{name: (slug, name in ("drugs", "tobacco")) for name, slug in SCENARIO_API.items()},
    **{name: (slug, True) for name, slug in SCENARIO_DEPRECATED.items()},
}
_NORMALISED: dict[str, tuple[str, bool]] = {}
for _name, _slug, _more in _iter_names():
    _NORMALISED.setdefault(_normalise(_name), (_slug, _more))
