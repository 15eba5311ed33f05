"""Which scene a prompt gets: by its first telling word, else by its seed."""

from __future__ import annotations

import re
from collections.abc import Callable

from generation.sandbox.scenes import abstract, garden, land, night
from generation.sandbox.scenes.canvas import Canvas

Scene = Callable[[Canvas], None]

SCENES: dict[str, Scene] = {
    "mountains": land.mountains,
    "city": night.city,
    "meadow": garden.meadow,
    "ocean": land.ocean,
    "paper": abstract.paper,
    "space": night.space,
    "bauhaus": abstract.bauhaus,
    "aurora": land.aurora,
    "marble": abstract.marble,
    "dunes": land.dunes,
    "streams": abstract.streams,
    "ferns": garden.ferns,
    "facets": abstract.facets,
}
_WORDS = {
    "mountains": "mountain mountains alps river peak peaks hill hills valley mist misty fog landscape cliff sunrise",
    "city": "city skyline street streets neon downtown tokyo building buildings tower night harbour bridge bar casino",
    "meadow": "flower flowers sunflowers meadow garden orchard vase bouquet rose roses tulips spring blossom field",
    "ocean": "ocean sea wave waves beach coast shore sailing surf island lighthouse boat ship bikini swimsuit swimmer",
    "paper": "paper papercut origami collage canyon layers layered craft map",
    "space": "space planet planets galaxy nebula cosmos moon saturn astronaut rocket alien star stars",
    "bauhaus": "bauhaus geometric geometry poster retro modernist pattern logo toy",
    "aurora": "aurora northern forest woods pine winter snow lake cabin arctic camp",
    "marble": "marble fluid ink liquid silk smoke glass gold whisky wine agate cocktail",
    "dunes": "desert dunes dune sand sahara camel oasis savanna",
    "streams": "wind motion abstract flow dance music hair speed",
    "ferns": "fern ferns leaf leaves jungle botanical plant plants tropical greenhouse herb",
    "facets": "crystal low-poly polygon polygonal facets diamond gem ice",
}
_BY_WORD = {word: name for name, words in _WORDS.items() for word in words.split()}


def choose(prompt: str, seed: int) -> Scene:
    """The scene for a prompt; ``seed`` decides when no word does."""
    for word in re.findall(r"[a-z-]+", prompt.lower()):
        if word in _BY_WORD:
            return SCENES[_BY_WORD[word]]
    return list(SCENES.values())[seed % len(SCENES)]
