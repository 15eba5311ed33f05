"""The words that images are compared with.

A subject is a short description; each is put into all templates. Subjects are lower case without
punctuation, as some tokenizers need it. A category wins only against all harmless subjects and
against its look-alikes: things that are easily taken for it. Describe what is visible, decently,
and in the words of a caption.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from moderation import taxonomy


@dataclass(frozen=True, eq=False)
class PromptSet:
    """Subjects of categories (by slug), of look-alikes (by L1 slug), and harmless ones."""

    templates: tuple[str, ...]  # with {} for the subject
    categories: Mapping[str, tuple[str, ...]]
    look_alikes: Mapping[str, tuple[str, ...]]
    harmless: tuple[str, ...]

    @functools.cached_property
    def version(self) -> str:
        """SHA-256 of the whole set."""
        content: list[Any] = [
            self.templates,
            dict(self.categories),
            dict(self.look_alikes),
            self.harmless,
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @functools.cached_property
    def subjects(self) -> tuple[str, ...]:
        """All subjects, each once, in a fixed order."""
        groups = (*self.categories.values(), *self.look_alikes.values(), self.harmless)
        return tuple(dict.fromkeys(subject for group in groups for subject in group))

    def list_against(self, slug: str) -> tuple[str, ...]:
        """Return the subjects that a category has to beat."""
        return (*self.harmless, *self.look_alikes.get(taxonomy.get(slug).l1, ()))


_CATEGORIES: Final[dict[str, tuple[str, ...]]] = {
    "explicit.nudity": (
        "a nude person with exposed genitals",
        "a naked woman with bare breasts",
        "a naked man seen from the front",
        "bare buttocks of a nude person",
        "a full frontal nude",
        "a naked anime character",
    ),
    "explicit.sexual-activity": (
        "two people having sex",
        "a couple in a sexual act",
        "a pornographic scene",
        "an explicit erotic drawing of sex",
        "a naked couple in bed making love",
    ),
    "explicit.sex-toys": (
        "a sex toy",
        "a vibrator",
        "a dildo",
        "adult toys in a sex shop",
    ),
    "non-explicit.nudity": (
        "a shirtless man with a bare chest",
        "the bare back of a woman",
        "a naked person seen from behind in shadow",
        "a woman with deep cleavage",
        "an implied nude without intimate parts visible",
    ),
    "non-explicit.obstructed": (
        "a topless woman covering her breasts with her hands",
        "a naked person covered by a towel or a sheet",
        "a nude with the intimate parts blurred",
        "a naked woman covered only by her hair",
        "a naked person in a bubble bath covered by foam",
    ),
    "non-explicit.kissing": (
        "two people kissing on the lips",
        "a couple kissing passionately",
        "a romantic kiss on the mouth",
        "two anime characters kissing",
    ),
    "swimwear-underwear.female": (
        "a woman in a bikini",
        "a woman in a swimsuit at the beach",
        "a woman in lingerie",
        "a woman in a bra and panties",
        "a lingerie model",
    ),
    "swimwear-underwear.male": (
        "a man in swimming trunks",
        "a man in underwear",
        "a man in boxer briefs",
        "a male underwear model",
        "a man in speedos at a pool",
    ),
    "violence.graphic": (
        "a bloody fight between two people",
        "a person bleeding from a wound",
        "a man being beaten and injured",
        "a person being stabbed",
        "a person being shot",
        "an execution or torture of a person",
        "an explosion with injured people",
        "self harm with cuts on an arm",
    ),
    "violence.weapons": (
        "a person holding a gun",
        "a handgun",
        "an assault rifle",
        "a soldier aiming a rifle",
        "a person threatening with a knife",
        "a combat knife or a dagger",
        "a sword held by a warrior",
        "a bomb or a hand grenade",
    ),
    "visually-disturbing.death": (
        "a dead body",
        "a corpse on the ground",
        "an open coffin with a dead person",
        "a hanged person",
        "an emaciated starving person",
        "human remains",
        "a decaying corpse or a zombie",
    ),
    "visually-disturbing.crashes": (
        "a car crash",
        "a wrecked car after an accident",
        "a plane crash",
        "the wreckage of a train accident",
        "a sinking or wrecked ship",
    ),
    "drugs-tobacco.products": (
        "a pack of cigarettes",
        "cigars and tobacco",
        "cannabis leaves or marijuana buds",
        "white powder cocaine on a table",
        "loose pills and drugs",
        "a vape or electronic cigarette",
    ),
    "drugs-tobacco.use": (
        "a person smoking a cigarette",
        "a person vaping a cloud of vapour",
        "a person smoking a joint",
        "a man smoking a cigar or a pipe",
        "a person injecting drugs with a syringe",
        "a person snorting cocaine",
        "a bong or a glass pipe for drugs",
        "a person smoking a hookah",
    ),
    "alcohol.use": (
        "a person drinking beer",
        "a woman drinking a glass of wine",
        "people toasting with glasses of champagne",
        "a drunk person with a bottle",
        "people drinking alcohol in a bar",
    ),
    "alcohol.beverages": (
        "a glass of beer",
        "a bottle of wine",
        "a glass of red wine",
        "a bottle of whiskey or vodka",
        "a cocktail on a bar counter",
        "shelves of liquor bottles",
    ),
    "rude-gestures.middle-finger": (
        "a person showing the middle finger",
        "a hand giving the middle finger",
        "an obscene hand gesture",
        "a cartoon character flipping the bird",
    ),
    "gambling": (
        "a roulette table in a casino",
        "slot machines",
        "people gambling at a poker table",
        "poker chips and playing cards",
        "dice and casino chips on green felt",
        "a sports betting slip",
        "a blackjack table",
    ),
    "hate-symbols.nazi": (
        "a nazi flag with a swastika",
        "a swastika",
        "a person in a nazi uniform",
        "people giving a nazi salute",
        "ss runes on a uniform",
    ),
    "hate-symbols.white-supremacy": (
        "members of the ku klux klan in white hoods",
        "a burning cross at night",
        "a white supremacist rally",
        "a white supremacist symbol",
    ),
    "hate-symbols.extremist": (
        "a flag of the islamic state",
        "terrorists with masks and a black flag",
        "the emblem of a terrorist group",
        "armed extremists posing with a flag",
    ),
}

_LOOK_ALIKES: Final[dict[str, tuple[str, ...]]] = {
    "explicit": (
        "a nude marble statue in a museum",
        "a classical oil painting with figures",
        "a medical diagram of the human body",
        "a mother breastfeeding her baby",
        "a person in skin coloured clothes",
        "a close up of skin or a hand",
        "a peach or other fruit",
        "a handheld massage device",
        "a person in a sleeveless dress",
        "a sumo wrestler",
    ),
    "non-explicit": (
        "a marble statue",
        "a person in a shirt",
        "a portrait of a face",
        "a person in an evening dress",
        "a kiss on the cheek",
        "two people hugging",
        "two people looking at each other",
        "a mother kissing a baby",
        "a person lying in bed under a blanket",
        "a person in a tank top",
    ),
    "swimwear-underwear": (
        "a person in sportswear",
        "a person in a summer dress",
        "a person in shorts and a t shirt",
        "a ballet dancer in a leotard",
        "a beach without people",
        "a swimming pool",
        "clothes on a shelf in a shop",
        "a superhero costume",
        "a diver in a wetsuit",
    ),
    "violence": (
        "a kitchen knife cutting vegetables",
        "a chef in a kitchen",
        "a tool such as a hammer or a drill",
        "a camera with a long lens",
        "a water pistol or a toy",
        "boxers or wrestlers in a sports ring",
        "a fencer in a sports match",
        "an athlete at a shooting range",
        "ketchup or red paint",
        "fireworks in the sky",
        "a campfire",
        "a knight in armour in a museum",
        "a police car",
        "a walking stick or an umbrella",
    ),
    "visually-disturbing": (
        "a sleeping person",
        "a person lying on the grass",
        "a skeleton as a decoration",
        "a skull ornament",
        "a halloween costume",
        "an old car in a garage",
        "a parked car",
        "cars in traffic",
        "an aeroplane in the sky",
        "an abandoned building",
        "a very thin fashion model",
        "a cemetery with flowers",
    ),
    "drugs-tobacco": (
        "a bottle of medicine from a pharmacy",
        "a doctor with a syringe giving a vaccine",
        "a green plant or herb",
        "flour or sugar in a kitchen",
        "sweets and candies",
        "a pen or a pencil in a hand",
        "steam or fog",
        "smoke from a chimney",
        "a lollipop in a mouth",
        "incense sticks",
        "a microphone in a hand",
    ),
    "alcohol": (
        "a glass of water",
        "a glass of juice or lemonade",
        "a cup of coffee or tea",
        "a bottle of olive oil or vinegar",
        "a bottle of perfume",
        "a soft drink can",
        "a person drinking water",
        "grapes in a vineyard",
        "a milkshake or smoothie",
    ),
    "rude-gestures": (
        "a hand pointing with the index finger",
        "a thumbs up",
        "a victory sign with two fingers",
        "a waving hand",
        "an open hand",
        "a raised fist",
        "hands in gloves",
    ),
    "gambling": (
        "a family playing a board game",
        "a chess board",
        "a video game arcade",
        "a pack of playing cards on a table",
        "a dartboard",
        "a pool table",
        "coins and money",
        "a fruit stand",
        "toy blocks",
    ),
    "hate-symbols": (
        "a national flag",
        "a hindu or buddhist temple with ornaments",
        "a geometric pattern",
        "a person in a military uniform",
        "a black and red logo",
        "a christian cross on a church",
        "a person in a white robe",
        "a ghost costume",
        "a pirate flag",
        "arabic calligraphy",
        "a crowd with raised hands at a concert",
        "a person in a balaclava in the snow",
    ),
}

_HARMLESS: Final = (
    "a landscape with mountains",
    "a forest",
    "the sea and the sky",
    "a city street with buildings",
    "a house and a garden",
    "an interior of a room with furniture",
    "an office with a computer",
    "a portrait of a person with clothes on",
    "a smiling woman",
    "a man in a suit",
    "a group of people in everyday clothes",
    "children playing",
    "a family at a table",
    "a person walking",
    "a person reading a book",
    "an athlete in a sports match",
    "a musician with an instrument",
    "a dog",
    "a cat",
    "a bird",
    "a horse or a cow",
    "a fish or an insect",
    "a flower",
    "a plate of food",
    "fruit and vegetables",
    "a cake or dessert",
    "a car on a road",
    "a train or a bus",
    "a bicycle",
    "a phone or another gadget",
    "a toy",
    "a piece of clothing",
    "a pair of shoes",
    "a logo or an icon",
    "a page of text",
    "a chart or a diagram",
    "a map",
    "an abstract pattern",
    "a plain colour background",
    "a fantasy landscape with a castle",
    "a robot",
    "a dragon or another mythical creature",
    "a spaceship among stars",
    "a cartoon character",
    "an anime girl with clothes on",
    "a superhero",
    "a painting in a museum",
    "a product on a white background",
    "a book cover or a poster",
    "a screenshot of a video game",
)

PROMPTS: Final = PromptSet(
    templates=("a photo of {}", "an illustration of {}"),
    categories=MappingProxyType(_CATEGORIES),
    look_alikes=MappingProxyType(_LOOK_ALIKES),
    harmless=_HARMLESS,
)
