"""The taxonomy: ten L1 categories and their L2s. Every other place derives from this one.

The names are Scenario's (https://docs.scenario.com/get-started/documentation/nsfw), which follow Amazon Rekognition's
moderation labels. Slugs are stored in the database and never change; names and definitions may.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Category:
    slug: str
    name: str
    definition: str
    parent: str = ""
    key: str = ""  # the letter (L1) or digit (L2) that picks it at the desk

    @property
    def level(self) -> int:
        return 2 if self.parent else 1

    @property
    def l1(self) -> str:
        return self.parent or self.slug


def _l1(slug: str, key: str, name: str, definition: str, *children: tuple[str, str, str]) -> list[Category]:
    family = [Category(slug, name, definition, key=key)]
    for digit, (child, child_name, child_definition) in enumerate(children, start=1):
        family.append(Category(f"{slug}.{child}", child_name, child_definition, parent=slug, key=str(digit)))
    return family


_ALL: list[Category] = [
    *_l1(
        "explicit", "x", "Explicit",
        "Sexual content that leaves nothing to inference: exposed genitals, anus or female nipple, sexual acts, or objects made for them.",
        ("nudity", "Explicit Nudity", "Exposed genitals or anus, fully bare buttocks, or an exposed female nipple, also through see-through clothing."),
        ("sexual-activity", "Explicit Sexual Activity", "Intercourse, oral sex, masturbation or their unmistakable simulation, whether or not nudity is visible."),
        ("sex-toys", "Sex Toys", "Objects made for sexual stimulation, in use or on display."),
    ),
    *_l1(
        "non-explicit", "n", "Non-Explicit Nudity of Intimate parts and Kissing",
        "Bare or nearly bare bodies whose intimate parts stay covered or outside the picture, and kissing on the lips.",
        ("nudity", "Non-explicit Nudity", "A bare back, a male nipple, partly bare buttocks or breast, or nudity that is implied rather than shown."),
        ("obstructed", "Obstructed intimate parts", "Intimate parts of a bare person, hidden only by a hand, hair, an object or a blur."),
        ("kissing", "Kissing on the lips", "Two people whose lips touch."),
    ),
    *_l1(
        "swimwear-underwear", "w", "Swimwear or Underwear",
        "People in swimwear, underwear or lingerie, whatever the setting.",
        ("female", "Female Swimwear or Underwear", "A woman or girl in a bikini, swimsuit, lingerie or other underwear."),
        ("male", "Male Swimwear or Underwear", "A man or boy in swimming trunks or underwear."),
    ),
    *_l1(
        "violence", "v", "Violence",
        "Harm done to people or animals, or the tools for it, shown as a subject of the picture.",
        ("graphic", "Graphic Violence", "Fighting, beating, torture, blood from an injury, self-harm, or the moment somebody is hurt or killed."),
        ("weapons", "Weapons", "Firearms, blades carried as arms, explosives and other arms, in a hand or on their own."),
    ),
    *_l1(
        "visually-disturbing", "d", "Visually Disturbing",
        "Sights that shock without showing violence being done.",
        ("death", "Death and Emaciation", "Corpses, remains, open coffins, or bodies wasted by hunger or illness."),
        ("crashes", "Crashes", "The wreckage of a car, train, plane or ship, or the crash itself."),
    ),
    *_l1(
        "drugs-tobacco", "t", "Drugs & Tobacco",
        "Drugs and tobacco in any form, and what they are taken with.",
        ("products", "Products", "Cigarettes, cigars, vapes, loose tobacco, pills, powders or cannabis as objects."),
        ("use", "Drug & Tobacco Paraphernalia & Use", "Smoking, injecting or snorting, and pipes, bongs, syringes or grinders meant for it."),
    ),
    *_l1(
        "alcohol", "a", "Alcohol",
        "Alcoholic drinks and drinking.",
        ("use", "Alcohol Use", "A person drinking alcohol, or plainly drunk."),
        ("beverages", "Alcoholic Beverages", "Beer, wine, spirits or cocktails in a glass, bottle or can."),
    ),
    *_l1(
        "rude-gestures", "f", "Rude Gestures",
        "Gestures made to insult.",
        ("middle-finger", "Middle Finger", "A raised middle finger towards the viewer or another person."),
    ),
    *_l1(
        "gambling", "g", "Gambling",
        "Games of chance for money: casino tables, slot machines, betting slips, chips, or dice and cards laid out for stakes.",
    ),
    *_l1(
        "hate-symbols", "h", "Hate Symbols",
        "Signs and emblems of groups or ideologies built on hatred.",
        ("nazi", "Nazi Party", "The swastika of the Nazi party, SS runes, its flags, salutes and uniforms."),
        ("white-supremacy", "White Supremacy", "Burning crosses, hoods and emblems of white supremacist groups."),
        ("extremist", "Extremist", "Flags and emblems of other violent extremist or terrorist groups."),
    ),
]  # fmt: skip

CATEGORIES: dict[str, Category] = {category.slug: category for category in _ALL}
L1: tuple[Category, ...] = tuple(category for category in _ALL if not category.parent)
CHOICES: list[tuple[str, str]] = [(category.slug, category.name) for category in _ALL]

# Novita's detection levels; each includes the ones below. https://novita.ai/docs/api-reference/model-apis-txt2img
_LEVEL_ADDS: tuple[tuple[str, ...], ...] = (
    ("explicit.nudity", "explicit.sexual-activity", "explicit.sex-toys", "hate-symbols"),
    ("non-explicit.nudity", "non-explicit.obstructed", "non-explicit.kissing"),
    ("swimwear-underwear.female", "swimwear-underwear.male"),
)
LEVELS = (0, 1, 2)


def get(slug: str) -> Category:
    """Return the category or raise KeyError with a sentence."""
    try:
        return CATEGORIES[slug]
    except KeyError:
        raise KeyError(f"{slug!r} is not a category of the taxonomy.") from None


def children(l1: str) -> tuple[Category, ...]:
    return tuple(category for category in _ALL if category.parent == l1)


def reject_reasons() -> tuple[Category, ...]:
    """What a rejection may name: every L2, and each L1 that has none."""
    return tuple(category for category in _ALL if category.parent or not children(category.slug))


def level_categories(level: int) -> tuple[str, ...]:
    """Slugs that Novita's detection looks for at a level (0, 1 or 2)."""
    return tuple(slug for adds in _LEVEL_ADDS[: level + 1] for slug in adds)


def tree() -> Iterator[tuple[Category, tuple[Category, ...]]]:
    """L1 categories with their L2s, in the order people see them."""
    for category in L1:
        yield category, children(category.slug)


def names(slugs: Iterable[str]) -> str:
    return ", ".join(CATEGORIES[slug].name if slug in CATEGORIES else slug for slug in slugs)
