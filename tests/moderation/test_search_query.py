"""The text of the search box: parsed or refused with a message, never executed as syntax."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from generation.core.text import WORD_MAX, fold_text
from generation.models import AssetText, GenerationRequest
from moderation.search import SearchForm
from moderation.search import run_search as find
from moderation.search.query import Query, QueryError, Term, parse
from tests.moderation.page_helpers import ClientOf, MakeReview
from tests.moderation.search_factories import get_search_page, read_text

pytestmark = pytest.mark.usefixtures("empty_search_cache")

# Texts with a special meaning in full-text engines, LIKE, HTML or Unicode.
SPECIAL_TEXTS = st.sampled_from(
    [
        '"',
        "'",
        "(",
        ")",
        "*",
        "^",
        ":",
        "-",
        "+",
        "~",
        "&",
        "|",
        "!",
        "<->",
        "\\",
        "%",
        "_",
        "{",
        "}",
        "[",
        "]",
        ";",
        "--",
        "NEAR",
        "NEAR(",
        "AND",
        "OR",
        "NOT",
        "text:",
        "rowid",
        "\0",
        "\t",
        "\n",
        "\u2028",
        "\ufeff",
        "\u202e",
        "☃",
        "\U0001f9dc\U0001f3fd\u200d\u2640\ufe0f",
        "é",
        "e\u0301",
        "İ",
        "ß",
        "ﬀ",
        "½",
        "١٢",
        "日本語",
        "ก็",
        "<b>",
        "deadbeef",
        "12345678",
        "a",
        "quiet",
        "$$",
        "{}",
    ]
)
SEARCH_TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(SPECIAL_TEXTS, max_size=12).map("".join),
    st.lists(SPECIAL_TEXTS, max_size=12).map(" ".join),
    st.lists(st.one_of(SPECIAL_TEXTS, st.text(max_size=5)), max_size=200).map("".join),
)


@pytest.fixture
def _images(make_review: MakeReview, make_request: Callable[..., GenerationRequest]) -> None:
    for number, prompt in enumerate(('a "quiet" harbour: (dawn)', "b OR NOT c")):
        made = make_request(prompt=prompt, seed=number)
        make_review(source="txt2img", request=made, position=0)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(typed=SEARCH_TEXTS)
@example(typed='"' * 300)
@example(typed="NEAR(a b)" * 50)
@example(typed="x" * 100_000)
@example(typed='harbour" OR 1=1 --')
@example(typed="') | 'a")
@pytest.mark.usefixtures("_images")
def test_any_search_text_is_accepted_or_refused_with_message(moderator: User, typed: str) -> None:
    form = SearchForm({"q": typed})
    if not form.is_valid():
        assert form.errors["q"]
        assert all(str(error).endswith(".") for error in form.errors["q"])
        return

    page = find(form, user=moderator)

    assert len(page.results) <= 2


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(words=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
@example(words=["NEAR", "AND"])
def test_text_index_accepts_only_folded_words(db: None, words: list[str]) -> None:
    folded = [word for text in words for word in fold_text(text).split()]

    assert (
        AssetText.with_words(folded, folded[:1], since=0, before=10, limit=5) == []
        if folded
        else True
    )
    if [fold_text(word) for word in words] != words:
        with pytest.raises(ValueError, match="folded"):
            AssetText.with_words(["a b", *words, "*"], [], since=0, before=10, limit=5)


@given(text=st.text())
def test_folding_is_idempotent(text: str) -> None:
    folded = fold_text(text)

    assert fold_text(folded) == folded
    assert all(word and len(word) <= WORD_MAX and word.isalnum() for word in folded.split())


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("harbour", [("harbour", False, False)]),
        ("-night", [("night", False, True)]),
        ("sun*", [("sun", True, False)]),
        ("-sun*", [("sun", True, True)]),
        ('"red dress"', [("red dress", False, False)]),
        ('-"red dress"', [("red dress", False, True)]),
        ('"red dre"*', [("red dre", True, False)]),
        ('"red dress', [("red dress", False, False)]),
        ("red red", [("red", False, False)]),
        ("a-b", [("a b", False, False)]),
        ("* - \"\" -* 'x'", [("x", False, False)]),
        ('castle"red dress"', [("castle", False, False), ("red dress", False, False)]),
        (
            "AND NOT near(x)",
            [("and", False, False), ("not", False, False), ("near x", False, False)],
        ),
    ],
)
def test_text_is_parsed_into_terms(text: str, terms: list[tuple[str, bool, bool]]) -> None:
    found = [(" ".join(term.words), term.is_prefix, term.is_excluded) for term in parse(text).terms]

    assert found == terms


def test_numbers_ids_and_hashes_are_recognised() -> None:
    assert parse("1234").number == 1234
    assert parse("1234").id_range is None
    assert parse("12345678").number == 12345678
    assert parse("12345678").id_range is not None
    assert parse(str(2**63)).number is None
    assert parse("1234 5678").number is None
    assert parse("deadbeef").terms == (Term(words=("deadbeef",)),)
    assert parse("deadbeef").id_range is not None
    assert parse("deadbee").id_range is None
    assert parse("a" * 64) == Query(digest="a" * 64)
    assert parse("a" * 63).digest == ""
    assert parse("") == parse(" \0 ") == Query()
    with pytest.raises(QueryError):
        parse("☃ !")


def test_search_text_is_escaped_on_the_page(client_of: ClientOf, moderator: User) -> None:
    response = get_search_page(client_of(moderator), '"><script>alert(1)</script>')

    assert b"<script>alert" not in response.content
    assert "Nothing matches" in read_text(response)
