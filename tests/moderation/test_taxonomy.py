"""External names of categories: every known name resolves, and no other."""

from __future__ import annotations

import pytest

from moderation import external_labels, taxonomy
from moderation.external_labels import find_detail, resolve

# The values of Scenario's API today and until 4 March 2024.
API_VALUES = {
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
    "explicit_nudity": "explicit",
    "suggestive": "non-explicit",
}
# L1 names, each with its L2 names.
L2_NAMES = {
    "Explicit": ["Explicit Nudity", "Explicit Sexual Activity", "Sex Toys"],
    "Non-Explicit Nudity of Intimate parts and Kissing": [
        "Non-explicit Nudity",
        "Obstructed intimate parts",
        "Kissing on the lips",
    ],
    "Swimwear or Underwear": ["Female Swimwear or Underwear", "Male Swimwear or Underwear"],
    "Violence": ["Graphic Violence", "Weapons"],
    "Visually Disturbing": ["Death and Emaciation", "Crashes"],
    "Drugs & Tobacco": ["Products", "Drug & Tobacco Paraphernalia & Use"],
    "Alcohol": ["Alcohol Use", "Alcoholic Beverages"],
    "Rude Gestures": ["Middle Finger"],
    "Gambling": [],
    "Hate Symbols": ["Nazi Party", "White Supremacy", "Extremist"],
}
# Rekognition 7.0: L2 names, each with its third level.
L3_NAMES = {
    "Explicit Nudity": [
        "Exposed Male Genitalia",
        "Exposed Female Genitalia",
        "Exposed Buttocks or Anus",
        "Exposed Female Nipple",
    ],
    "Non-Explicit Nudity": [
        "Bare Back",
        "Exposed Male Nipple",
        "Partially Exposed Buttocks",
        "Partially Exposed Female Breast",
        "Implied Nudity",
    ],
    "Obstructed Intimate Parts": ["Obstructed Female Nipple", "Obstructed Male Genitalia"],
    "Graphic Violence": [
        "Weapon Violence",
        "Physical Violence",
        "Self-Harm",
        "Blood & Gore",
        "Explosions and Blasts",
    ],
    "Death and Emaciation": ["Emaciated Bodies", "Corpses"],
    "Crashes": ["Air Crash"],
    "Products": ["Pills"],
    "Drugs & Tobacco Paraphernalia & Use": ["Smoking"],
    "Alcohol Use": ["Drinking"],
}


def resolve_slug(name: str) -> str:
    found = resolve(name)
    assert found is not None, name
    return found.slug


@pytest.mark.parametrize(("value", "category"), API_VALUES.items())
def test_every_api_value_resolves_to_its_category(value: str, category: str) -> None:
    assert (
        resolve_slug(value) == resolve_slug(value.upper()) == resolve_slug(f" {value} ") == category
    )


def test_drugs_and_tobacco_are_distinguished_by_detail() -> None:
    assert (find_detail("drugs"), find_detail("tobacco"), find_detail("alcohol")) == (
        "drugs",
        "tobacco",
        "",
    )
    assert find_detail("Drugs & Tobacco") == ""


@pytest.mark.parametrize("first", L2_NAMES)
def test_every_l1_and_l2_name_resolves(first: str) -> None:
    top = resolve(first)
    assert top is not None
    assert (top.name, top.level) == (first, 1)
    assert [child.name for child in taxonomy.list_children(top.slug)] == L2_NAMES[first]
    for name in L2_NAMES[first]:
        found = resolve(name)
        assert found is not None
        assert (found.name, found.parent, find_detail(name)) == (name, top.slug, "")


def test_taxonomy_has_exactly_the_listed_l1_names() -> None:
    assert [category.name for category in taxonomy.L1] == list(L2_NAMES)


@pytest.mark.parametrize("second", L3_NAMES)
def test_third_level_names_are_details_of_their_l2_category(second: str) -> None:
    for name in L3_NAMES[second]:
        assert resolve_slug(name) == resolve_slug(second)
        assert find_detail(name) == name


def test_spelling_distinguishes_old_l1_value_from_l2_name() -> None:
    assert resolve_slug("explicit_nudity") == "explicit"
    assert resolve_slug("Explicit Nudity") == resolve_slug("EXPLICIT  nudity") == "explicit.nudity"


@pytest.mark.parametrize(
    "name",
    [
        "female_swimwear_or_underwear",
        "Female Swimwear Or Underwear",
        "female-swimwear-or-underwear",
    ],
)
def test_case_spaces_dashes_and_underscores_are_ignored(name: str) -> None:
    assert resolve_slug(name) == "swimwear-underwear.female"


@pytest.mark.parametrize(
    "name", ["swimwear_or_underwear", "revealing_clothes", "sexual_activity", "Adult Toys"]
)
def test_names_of_the_older_model_resolve(name: str) -> None:
    assert resolve(name) is not None


@pytest.mark.parametrize(
    "name", ["", " ", "_", "cosmic_dread", "explicit!x", "violence.gore", "é", "none", "safe"]
)
def test_unknown_name_resolves_to_none(name: str) -> None:
    assert resolve(name) is None
    assert find_detail(name) == ""


def test_own_slugs_and_names_resolve_to_themselves() -> None:
    for category in taxonomy.CATEGORIES.values():
        assert resolve_slug(category.slug) == resolve_slug(category.name) == category.slug


def test_every_alias_names_an_existing_category() -> None:
    assert {found for found, _ in external_labels._NORMALISED.values()} <= set(taxonomy.CATEGORIES)


def test_every_definition_is_one_short_line() -> None:
    for category in taxonomy.CATEGORIES.values():
        assert 40 <= len(category.definition) <= 400, category.slug
        assert category.definition.endswith("."), category.slug
        assert "\n" not in category.definition
