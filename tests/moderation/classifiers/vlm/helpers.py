"""Answers of a vision-language model, built without the code under test."""

from __future__ import annotations

import copy
import json
from typing import Any

EMPTY: dict[str, Any] = {
    "image_visible": True,
    "description": "A harbour at dusk.",
    "addresses_the_moderator": False,
    "explicit": {"reason": "", "nudity": 0, "sexual-activity": 0, "sex-toys": 0},
    "non-explicit": {"reason": "", "nudity": 0, "obstructed": 0, "kissing": 0},
    "swimwear-underwear": {"reason": "", "female": 0, "male": 0},
    "violence": {"reason": "", "graphic": 0, "weapons": 0},
    "visually-disturbing": {"reason": "", "death": 0, "crashes": 0},
    "drugs-tobacco": {"reason": "", "products": 0, "use": 0},
    "alcohol": {"reason": "", "use": 0, "beverages": 0},
    "rude-gestures": {"reason": "", "middle-finger": 0},
    "gambling": {"reason": "", "gambling": 0},
    "hate-symbols": {"reason": "", "nazi": 0, "white-supremacy": 0, "extremist": 0},
}


def build_answer(**groups: dict[str, Any]) -> dict[str, Any]:
    """Return the empty answer with changed groups; an underscore stands for a hyphen."""
    answer = copy.deepcopy(EMPTY)
    for name, values in groups.items():
        answer[name.replace("_", "-")].update(values)
    return answer


def build_text(**groups: dict[str, Any]) -> str:
    return json.dumps(build_answer(**groups))
