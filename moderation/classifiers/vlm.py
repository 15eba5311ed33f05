"""Classifier by a vision-language model that reads the taxonomy's definitions.

Any OpenAI-compatible service: a house's own vLLM, llama.cpp or Ollama, Novita, nano-gpt. Prompt and
schema: ``vlm_prompt``. Parser: ``vlm_answer``.

* **Coverage.** The model is asked about all ten categories, each second level on its own. It judges
  by reading definitions, and what it misses is not measured, so all ten are heuristic.
* **Its numbers are no probabilities.** A model states how sure it is, and such numbers are not
  calibrated: 90 may be right half of the time. Findings therefore have no confidence, and a policy
  cannot reject by one; every finding goes to a person. The stated numbers are in ``raw`` and in the
  note that the person reads. Numbers below ``FLOOR`` are no findings.
* **Silence is not trusted** by itself. A policy whose lead says so may count it.
* **Text in the picture** can address the model. It cannot change the form of the answer, because
  every category needs a number of its own; it can make a model lie. The model has to report such
  text, and an image with it is flagged.
* **Everything but a complete answer is an error**: an answer that is refused, cut off, empty,
  unreadable or of another form, and one by a model that saw no image. Nothing is clean by default.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings

from generation.providers.base import InvalidAnswerError
from generation.providers.chat import ChatCompletions, Completion
from generation.wire.nanogpt import data_url_length
from moderation import taxonomy
from moderation.classifiers import vlm_prompt
from moderation.classifiers.base import Assessment, ClassifierError, Coverage, Finding
from moderation.classifiers.one_image import OneImageClassifier
from moderation.classifiers.vlm_answer import Answer, AnswerError, parse_answer

if TYPE_CHECKING:
    from generation.models import Asset

COVERS = {category.slug: Coverage.HEURISTIC for category in taxonomy.L1}
# Characters of a data URL. Inferred: OpenAI allows more, small servers less, and nano-gpt asks for
# "4 MB or smaller after encoding". A reduced copy is large enough for every model known.
BYTES_MAX = 4_000_000
# WebP is absent: llama.cpp cannot decode it (its decoder is stb_image).
MEDIA_TYPES = frozenset({"image/png", "image/jpeg"})
# Of an answer. A model that thinks aloud needs more and is cut off.
TOKENS_MAX = 2000
# Of a usual answer, for estimates: the empty form has about 250, the texts have the rest.
ANSWER_TOKENS = 600
VERSION_MAX = 80  # characters of Classification.version
CALLS_AT_ONCE = 4  # a house's own server has few slots
NOTED_MAX = 3  # findings in a note


class VisionLanguageModel(OneImageClassifier):
    """A ``RemoteClassifier``."""

    slug = "vlm"
    trusted_when_silent = False
    silence = (
        "It judges all ten categories by their definitions, so it covers all of them heuristically;"
        " what it misses is not measured."
    )
    batch_size = 4 * CALLS_AT_ONCE
    calls_at_once = CALLS_AT_ONCE
    setting_names = "VLM_MODEL, VLM_BASE_URL, and the key and balance of the service"

    def __init__(self) -> None:
        super().__init__()
        self.version = _build_version(settings.VLM["model"] if settings.VLM else "")

    @property
    def label(self) -> str:
        return str(settings.VLM["label"]) if settings.VLM else "Vision model"

    @property
    def price(self) -> Decimal:
        """The estimated cost of a call by the prices in the settings; 0 without them."""
        if settings.VLM is None:
            return Decimal(0)
        return ChatCompletions(**settings.VLM).estimate_cost(
            system=vlm_prompt.build_prompt(), answer_tokens=ANSWER_TOKENS
        )

    def explain_off(self) -> str:
        return "" if settings.VLM else "The vision model is switched off: VLM_MODEL is not set."

    def accepts(self, content: bytes, media_type: str) -> bool:
        return media_type in MEDIA_TYPES and data_url_length(len(content), media_type) <= BYTES_MAX

    def _judge(self, asset: Asset, content: bytes, media_type: str) -> Assessment:
        assert settings.VLM is not None  # explain_off() was empty
        completion = ChatCompletions(**settings.VLM).complete(
            system=vlm_prompt.build_prompt(),
            content=content,
            media_type=media_type,
            schema=vlm_prompt.build_schema(),
            max_tokens=TOKENS_MAX,
        )
        cost = self.price if completion.cost is None else completion.cost
        try:
            answer = parse_answer(completion.text)
        except AnswerError as error:
            raise InvalidAnswerError(
                f"{self.label} gave an answer that {error}.", cost=cost, currency="USD"
            ) from None
        if not answer.image_visible:
            raise ClassifierError(
                f"{self.label} says that it saw no image. Check that VLM_MODEL is a model that"
                " reads images.",
                cost=cost,
            )
        return _build_assessment(answer, completion, cost)


def _build_version(model: str) -> str:
    """Return the name of the model and the hash of the prompt, in at most VERSION_MAX characters.

    A long name is cut, and a hash of the whole name keeps it apart from others.
    """
    longest = VERSION_MAX - len(vlm_prompt.PROMPT_HASH) - 1
    if len(model) > longest:
        digest = hashlib.sha256(model.encode()).hexdigest()[:8]
        model = f"{model[: longest - len(digest) - 1]}-{digest}"
    return f"{model}-{vlm_prompt.PROMPT_HASH}"


def _build_assessment(answer: Answer, completion: Completion, cost: Decimal) -> Assessment:
    found = answer.list_found()
    return Assessment(
        findings=tuple(Finding(category=slug, confidence=None) for slug in found),
        flagged=bool(found) or answer.addresses_the_moderator,
        covers=COVERS,
        cost=cost,
        note=_build_note(answer, found),
        raw=_build_raw(answer, completion, found),
    )


def _build_note(answer: Answer, found: list[str]) -> str:
    """Return what a person should read: the model's numbers and words, marked as its own."""
    sentences: list[str] = []
    if answer.addresses_the_moderator:
        sentences.append("it reports text in the image that addresses a reviewer or a model.")
    for slug in found[:NOTED_MAX]:
        category = taxonomy.get(slug)
        said = answer.reasons[category.l1].rstrip(".")
        quoted = f": “{said}”" if said else ""
        sentences.append(f"{category.name}, by its own number {answer.stated[slug]}{quoted}.")
    return " ".join(sentences)


def _build_raw(answer: Answer, completion: Completion, found: list[str]) -> dict[str, Any]:
    # Text that addresses the model may have changed its numbers.
    ranked = [] if answer.addresses_the_moderator else found
    return {
        "model": completion.model,
        "request_id": completion.request_id,
        "response_format": completion.response_format,
        "usage": completion.usage.to_wire(),
        # null: unknown; the stored cost is then the estimate by the prices in the settings, or 0.
        "cost": None if completion.cost is None else str(completion.cost),
        "stated": {slug: number for slug, number in answer.stated.items() if number},
        "ranks": {slug: answer.stated[slug] for slug in ranked},
        "reasons": {slug: said for slug, said in answer.reasons.items() if said},
        "description": answer.description,
        "addresses_the_moderator": answer.addresses_the_moderator,
    }
