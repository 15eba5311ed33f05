"""Contents of the demo: people, policy and first prompts, all created by services.

Words such as "whisky" make the sandbox mark a picture with a category (docs/sandbox.md).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    """A demo account."""

    username: str
    roles: tuple[str, ...]
    about: str
    permissions: tuple[str, ...] = ()  # in addition to those of the roles, by codename
    is_staff: bool = False
    is_superuser: bool = False


PEOPLE = (
    Person("moderator", ("moderator",), "reviews images"),
    Person("senior", ("senior moderator",), "decides what was escalated, reverses decisions"),
    Person("lead", ("policy lead",), "sets policies"),
    Person("auditor", ("auditor",), "reads the record, exports CSV"),
    Person("operator", ("operator",), "runs the installation: people, providers, keys"),
    Person("integrator", ("integrator",), "makes own API keys, reads own calls"),
    # The requester of the batch cannot decide it, so all moderators can.
    Person(
        "artist",
        (),
        "asks for images, sees their own requests",
        permissions=("add_generationrequest",),
    ),
    Person("admin", (), "everything, in the admin site too", is_staff=True, is_superuser=True),
)


def describe_accounts(password: str) -> str:
    """Return the demo accounts as text for a terminal."""
    people = "".join(f"\n  {person.username:<10} {person.about}" for person in PEOPLE)
    return f"Demo log-ins, all with the password {password}{people}"


POLICY_NAME = "Demo policy"
POLICY_NOTE = (
    "For trying Loupe. It approves the sandbox's pictures without findings, "
    "but no imported files: those go to moderators. Unlike the starting "
    "policy, it counts “nothing found” of the local detector, which detects "
    "nothing but nudity, and accepts the other categories unchecked where "
    "only that detector looked. Do not use it for real images."
)
EARLIER_POLICY_NAME = "Demo policy, first version"
EARLIER_POLICY_NOTE = "Part of the demo's invented past: every trace of alcohol goes to a person."
EARLIER_ALCOHOL_FROM = 10  # percent
POLICY_REASON = (
    "Invented for the demo. Four of five images of wine and beer at a table were approved, so only"
    " clear findings of alcohol go to a person from now on."
)
# The local detector covers the other three.
ACCEPTED_UNCHECKED = (
    "violence",
    "visually-disturbing",
    "drugs-tobacco",
    "alcohol",
    "rude-gestures",
    "gambling",
    "hate-symbols",
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request of the demo."""

    text: str
    images: int = 2
    size: tuple[int, int] = (512, 512)
    image_type: str = "png"
    level: int | None = 1  # Novita's detection level, or None for no detection
    negative: str = ""


BLURRY = "blurry, low quality, text, watermark"
WIDE, TALL, LARGE = (768, 512), (512, 768), (768, 768)

BATCH = (
    Prompt(
        "misty mountain valley at sunrise, layered ridges, soft light", 4, WIDE, negative=BLURRY
    ),
    Prompt("rainy city street at night, neon reflections, cinematic", 2, TALL, "jpeg"),
    Prompt(
        "still life with a whisky bottle and a crystal glass, oil painting", 3, image_type="webp"
    ),
    Prompt("fern leaves after rain, macro photography, deep green", 2, negative=BLURRY),
    Prompt("detective's desk with a revolver and an old map, film noir", 3, WIDE),
    Prompt("aurora over a frozen lake, long exposure", 2, WIDE, "jpeg"),
    Prompt("marble texture, gold veins, top view", 1, LARGE, level=None),
    Prompt("fashion editorial on a beach, model in a bikini, golden hour", 4, TALL, level=2),
    Prompt("isometric poster of a lighthouse, bauhaus shapes", 2),
    Prompt("casino hall with roulette tables, wide angle", 2, WIDE, "jpeg"),
    Prompt("ringed planet rising over an alien desert, science fiction", 3, WIDE),
    Prompt("portrait of a sailor smoking a pipe, charcoal", 2, TALL, "webp"),
    Prompt("sea waves against black rocks, storm, dramatic", 2, negative=BLURRY),
    Prompt("medieval battle on a hill, painted in the style of an old tapestry", 3, LARGE),
    Prompt("children's book illustration of a fox in the snow", 2),
    Prompt("art study, nude figure in marble, museum light", 4, TALL, level=0),
    Prompt("quiet harbour at dawn, watercolour", 2, WIDE, "webp"),
    Prompt("car crash scene for a road safety campaign", 2, WIDE, "jpeg"),
    Prompt("low poly forest, morning fog", 2),
    Prompt("couple under an umbrella, a kiss in the rain", 3, TALL, level=1),
    Prompt("abstract flow field, teal and copper", 1, LARGE, level=None),
    Prompt("wine cellar with oak barrels and two glasses of wine", 2),
    Prompt("night sky over a desert camp, milky way", 2, WIDE, "jpeg"),
    Prompt("knight with a sword at a gate, fantasy concept art", 4, TALL),
    Prompt("botanical print of wild flowers, cream paper", 2, TALL),
    Prompt("street protest, a rude sign in the crowd, documentary", 2, WIDE),
    Prompt("history lesson, a flag with a swastika in a museum case", 2, level=0),
    Prompt("skyline at blue hour, thousands of windows", 2, WIDE),
    Prompt("skeleton model in a science classroom", 2),
    Prompt("cup of coffee by a window, morning light", 1, level=None),
    Prompt("poker night among friends, beer on the table", 3, WIDE),
    Prompt("ink drawing of a dragon boat", 2),
    Prompt("kitchen still life with a knife and lemons", 2, image_type="jpeg"),
    Prompt("swimmer at the starting block, sports photography", 2, WIDE, level=2),
    Prompt("northern fjord in autumn, aerial view sandbox:slow", 2, WIDE),
    Prompt("glass city of the future sandbox:fail", 2),
    Prompt("four seasons of one tree sandbox:partial", 4),
    Prompt("a photograph whose detection does not run sandbox:invalid-detection", 1),
    Prompt("an image that cannot be read sandbox:corrupt", 1, level=None),
    Prompt("a request whose answer gets lost sandbox:lost-silent", 1),
)

# Prompts of the invented past. The words in docs/sandbox.md mark their pictures too.
PAST_PROMPTS = (
    "harbour town in the evening, watercolour",
    "dinner for two with a bottle of wine, candle light",
    "snow leopard on a ridge, telephoto",
    "beer garden in summer, long tables",
    "summer campaign, model in a bikini by the pool",
    "old lighthouse keeper, portrait in oil",
    "noir cover with a pistol on a desk",
    "paper boats on a pond, top view",
    "knight with a sword in the mist, concept art",
    "kitchen knife and herbs on a board, food photography",
    "city map in isometric style, pastel colours",
    "poker table from above, green felt",
    "wedding kiss under an arch of roses",
    "sculpture study, nude torso in plaster",
    "cocktail with ice and mint, studio light",
    "railway station in fog, film still",
    "jazz musician with a cigar, high contrast",
    "graveyard at dusk, gothic novel cover",
    "mountain hut in winter, cosy window",
    "swimmer in a lake at sunrise",
    "robot gardener in a greenhouse",
    "car wreck in a desert, road movie poster",
    "stage crowd, one rude gesture, concert photo",
    "field hospital after the battle, historic painting",
    "botanical plate of ferns, ink on paper",
    "propaganda poster with a swastika, history lesson",
)
PAST_LORAS = ("fine_grain_film", "gouache_wash")

_MODELS = (
    "alder_realism_v4",
    "amberlight_v2",
    "clearwater_v5",
    "meridian_xl_v5",
    "northern_sky_v1",
    "umber_portrait_v4",
)


def choose_model(number: int) -> str:
    """Return one of the sandbox's checkpoints, in turn."""
    return f"{_MODELS[number % len(_MODELS)]}.safetensors"
