"""Every name that others have for our categories is understood, and no other."""

from __future__ import annotations

import pytest

from moderation import external_labels, taxonomy
from moderation.external_labels import find_detail, resolve

# What Scenario's API sends today, and what it sent until 4 March 2024.
API = {
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
# The table: first level, then its second level.
TABLE = {
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
# Rekognition 7.0: second level, then its third.
THIRD = {
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


def slug(name: str) -> str:
    found = resolve(name)
    assert found is not None, name
    return found.slug


@pytest.mark.parametrize(("value", "category"), API.items())
def test_every_value_of_the_api_is_understood(value: str, category: str) -> None:
    assert slug(value) == slug(value.upper()) == slug(f" {value} ") == category


def test_drugs_and_tobacco_stay_apart_as_details() -> None:
    assert (find_detail("drugs"), find_detail("tobacco"), find_detail("alcohol")) == (
        "drugs",
        "tobacco",
        "",
    )
    assert find_detail("Drugs & Tobacco") == ""


@pytest.mark.parametrize("first", TABLE)
def test_every_name_of_the_table_is_understood(first: str) -> None:
    top = resolve(first)
    assert top is not None
    assert (top.name, top.level) == (first, 1)
    assert [child.name for child in taxonomy.list_children(top.slug)] == TABLE[first]
    for name in TABLE[first]:
        found = resolve(name)
        assert found is not None
        assert (found.name, found.parent, find_detail(name)) == (name, top.slug, "")


def test_the_table_is_the_whole_taxonomy() -> None:
    assert [category.name for category in taxonomy.L1] == list(TABLE)


@pytest.mark.parametrize("second", THIRD)
def test_the_third_level_is_a_detail_of_the_second(second: str) -> None:
    for name in THIRD[second]:
        assert slug(name) == slug(second)
        assert find_detail(name) == name


def test_how_it_is_spelt_tells_the_old_first_level_from_the_second() -> None:
    assert slug("explicit_nudity") == "explicit"
    assert slug("Explicit Nudity") == slug("EXPLICIT  nudity") == "explicit.nudity"


@pytest.mark.parametrize(
    "name",
    [
        "female_swimwear_or_underwear",
        "Female Swimwear Or Underwear",
        "female-swimwear-or-underwear",
    ],
)
def test_case_spaces_dashes_and_underscores_do_not_matter(name: str) -> None:
    assert slug(name) == "swimwear-underwear.female"


@pytest.mark.parametrize(
    "name", ["swimwear_or_underwear", "revealing_clothes", "sexual_activity", "Adult Toys"]
)
def test_names_of_the_older_model_are_understood(name: str) -> None:
    assert resolve(name) is not None


@pytest.mark.parametrize(
    "name", ["", " ", "_", "cosmic_dread", "explicit!x", "violence.gore", "é", "none", "safe"]
)
def test_an_unknown_name_is_nothing(name: str) -> None:
    assert resolve(name) is None
    assert find_detail(name) == ""


def test_our_own_slugs_and_names_come_back() -> None:
    for category in taxonomy.CATEGORIES.values():
        assert slug(category.slug) == slug(category.name) == category.slug


def test_every_alias_leads_to_a_category() -> None:
    assert {found for found, _ in external_labels._NORMALISED.values()} <= set(taxonomy.CATEGORIES)


def test_every_definition_can_be_read_at_the_desk() -> None:
    for category in taxonomy.CATEGORIES.values():
        assert 40 <= len(category.definition) <= 400, category.slug
        assert category.definition.endswith("."), category.slug
        assert "\n" not in category.definition
