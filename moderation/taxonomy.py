"""The taxonomy: ten L1 categories and their L2s. The single source for all other code.

The names are Scenario's (https://docs.scenario.com/get-started/documentation/nsfw), which follow
Amazon Rekognition's moderation labels. Slugs are stored in the database and must never change;
names and definitions may. Other services' names are in ``moderation.external_labels``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Category:
    """A category of the taxonomy."""

    slug: str
    name: str
    definition: str
    parent: str = ""
    key: str = ""  # hotkey at the desk: a letter (L1) or digit (L2)

    @property
    def level(self) -> int:
        return 2 if self.parent else 1

    @property
    def l1(self) -> str:
        return self.parent or self.slug

    @property
    def short(self) -> str:
        """A shorter name for lists in one line."""
        return self.name.partition(" of ")[0]


def _l1(
    slug: str, key: str, name: str, definition: str, *children: tuple[str, str, str]
) -> list[Category]:
    family = [Category(slug, name, definition, key=key)]
    for digit, (child, child_name, child_definition) in enumerate(children, start=1):
        family.append(
            Category(f"{slug}.{child}", child_name, child_definition, parent=slug, key=str(digit))
        )
    return family


_ALL: list[Category] = [
    *_l1(
        "explicit",
        "x",
        "Explicit",
        "Sexual content that leaves nothing to inference: exposed genitals, anus, buttocks or female nipple, sexual acts, or objects made for them. Drawn and rendered figures count like photographs.",
        (
            "nudity",
            "Explicit Nudity",
            "Genitals, an anus, fully bare buttocks or a female nipple in plain sight, also through see-through clothing or in a drawing. What is covered by a hand, hair or a blur belongs to Obstructed intimate parts.",
        ),
        (
            "sexual-activity",
            "Explicit Sexual Activity",
            "Intercourse, oral sex, masturbation or their unmistakable simulation, whether or not anything bare is visible. An embrace or a kiss alone does not count.",
        ),
        (
            "sex-toys",
            "Sex Toys",
            "Objects made for sexual stimulation, such as vibrators, dildos or dolls, in use, in a hand or on display.",
        ),
    ),
    *_l1(
        "non-explicit",
        "n",
        "Non-Explicit Nudity of Intimate parts and Kissing",
        "Bare or nearly bare bodies whose intimate parts stay covered or outside the picture, and kissing on the lips. Nothing that Explicit names may be visible.",
        (
            "nudity",
            "Non-explicit Nudity",
            "A bare back, a bare male chest, partly bare buttocks or breast, or a person who is plainly naked although the picture shows nothing intimate.",
        ),
        (
            "obstructed",
            "Obstructed intimate parts",
            "The nipple or genitals of a bare person, hidden only by a hand, hair, foam, an object, a sticker or a blur, so that their place is obvious.",
        ),
        (
            "kissing",
            "Kissing on the lips",
            "Two people whose lips touch. A kiss on the cheek, the hand or the forehead does not count.",
        ),
    ),
    *_l1(
        "swimwear-underwear",
        "w",
        "Swimwear or Underwear",
        "People in swimwear, underwear or lingerie, whatever the setting: a beach, a shop, a bedroom. The garments alone, with nobody in them, do not count.",
        (
            "female",
            "Female Swimwear or Underwear",
            "A woman or girl in a bikini, swimsuit, lingerie or other underwear. Sportswear that covers the trunk does not count.",
        ),
        (
            "male",
            "Male Swimwear or Underwear",
            "A man or boy in swimming trunks or underwear. A bare chest above trousers or shorts is Non-explicit Nudity.",
        ),
    ),
    *_l1(
        "violence",
        "v",
        "Violence",
        "Harm done to people or animals, or the tools for it, as a subject of the picture. What is left afterwards, without the act, belongs to Visually Disturbing.",
        (
            "graphic",
            "Graphic Violence",
            "Fighting, beating, torture, self-harm, blood from an injury, an explosion among people, or the moment somebody is hurt or killed, with a weapon or without. Sport within its rules does not count.",
        ),
        (
            "weapons",
            "Weapons",
            "Firearms, blades carried as arms, explosives and other arms, in a hand or on their own, whether or not they are used. A kitchen knife at work and a tool at its task do not count.",
        ),
    ),
    *_l1(
        "visually-disturbing",
        "d",
        "Visually Disturbing",
        "Sights that shock without violence being done in the picture: the dead, the wasted, and wreckage.",
        (
            "death",
            "Death and Emaciation",
            "Corpses, remains, a hanged person, open coffins, or bodies wasted by hunger or illness. A skeleton as an ornament or in a lesson does not count.",
        ),
        (
            "crashes",
            "Crashes",
            "A car, train, plane or ship as it crashes, or its wreckage. A scratch on a parked car does not count.",
        ),
    ),
    *_l1(
        "drugs-tobacco",
        "t",
        "Drugs & Tobacco",
        "Drugs and tobacco in any form, what they are taken with, and people taking them. Medicine counts as soon as it looks like loose pills or powder.",
        (
            "products",
            "Products",
            "Cigarettes, cigars, vapes, loose tobacco, pills, powders or cannabis as objects, in a hand or on their own, while nobody takes them.",
        ),
        (
            "use",
            "Drug & Tobacco Paraphernalia & Use",
            "Smoking, vaping, injecting or snorting, and the pipes, bongs, syringes or grinders meant for it. A syringe in a doctor's hand does not count.",
        ),
    ),
    *_l1(
        "alcohol",
        "a",
        "Alcohol",
        "Alcoholic drinks, and people drinking them. When nothing shows whether a drink is alcoholic, the glass and the place decide.",
        (
            "use",
            "Alcohol Use",
            "A person drinking alcohol, raising a glass of it to the lips, or plainly drunk.",
        ),
        (
            "beverages",
            "Alcoholic Beverages",
            "Beer, wine, spirits or cocktails in a glass, bottle, can or barrel, while nobody drinks them.",
        ),
    ),
    *_l1(
        "rude-gestures",
        "f",
        "Rude Gestures",
        "Gestures made to insult somebody in the picture or whoever looks at it.",
        (
            "middle-finger",
            "Middle Finger",
            "A raised middle finger, towards the viewer or another person, also drawn, on a sign or as a statue.",
        ),
    ),
    *_l1(
        "gambling",
        "g",
        "Gambling",
        "Games of chance for money: casino tables, slot machines, betting slips, chips, or dice and cards laid out for stakes. A pack of cards at a family table does not count.",
    ),
    *_l1(
        "hate-symbols",
        "h",
        "Hate Symbols",
        "Signs, flags, gestures and uniforms of groups or ideologies built on hatred, whatever the picture wants to say with them; a person judges the context.",
        (
            "nazi",
            "Nazi Party",
            "The swastika of the Nazi party, SS runes, its flags, salutes and uniforms. The swastika of Hindu, Buddhist or Jain tradition does not count.",
        ),
        (
            "white-supremacy",
            "White Supremacy",
            "Burning crosses, the hoods and robes of the Ku Klux Klan, and the emblems and slogans of other white supremacist groups.",
        ),
        (
            "extremist",
            "Extremist",
            "Flags, emblems and uniforms of other violent extremist or terrorist groups, of any faith or politics.",
        ),
    ),
]

CATEGORIES: dict[str, Category] = {category.slug: category for category in _ALL}
L1: tuple[Category, ...] = tuple(category for category in _ALL if not category.parent)
CHOICES: list[tuple[str, str]] = [(category.slug, category.name) for category in _ALL]

# Novita's detection levels; each includes the ones below.
# https://novita.ai/docs/api-reference/model-apis-txt2img
_LEVEL_ADDS: tuple[tuple[str, ...], ...] = (
    ("explicit.nudity", "explicit.sexual-activity", "explicit.sex-toys", "hate-symbols"),
    ("non-explicit.nudity", "non-explicit.obstructed", "non-explicit.kissing"),
    ("swimwear-underwear.female", "swimwear-underwear.male"),
)
LEVELS = (0, 1, 2)


def get(slug: str) -> Category:
    """Return a category. Raises KeyError with a message."""
    try:
        return CATEGORIES[slug]
    except KeyError:
        raise KeyError(f"{slug!r} is not a category of the taxonomy.") from None


@functools.cache
def list_children(l1: str) -> tuple[Category, ...]:
    return tuple(category for category in _ALL if category.parent == l1)


@functools.cache
def list_reject_reasons() -> frozenset[str]:
    """Return the slugs that a rejection may have: all L2s, and L1s without L2s."""
    return frozenset(
        category.slug for category in _ALL if category.parent or not list_children(category.slug)
    )


def list_level_categories(level: int) -> tuple[str, ...]:
    """Return the slugs that Novita's detection looks for at a level (0, 1 or 2)."""
    return tuple(slug for adds in _LEVEL_ADDS[: level + 1] for slug in adds)


def iter_tree() -> Iterator[tuple[Category, tuple[Category, ...]]]:
    """Yield L1 categories with their L2s in display order."""
    for category in L1:
        yield category, list_children(category.slug)


def join_names(slugs: Iterable[str]) -> str:
    return ", ".join(CATEGORIES[slug].name if slug in CATEGORIES else slug for slug in slugs)
