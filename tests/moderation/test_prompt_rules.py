"""Rules of words on prompts: what they match, what they refuse, and that they stay linear."""

from __future__ import annotations

import itertools

import pytest

from moderation.prompt_rules import (
    ALLOWED_MAX,
    TERMS_MAX,
    TEXT_MAX,
    PromptRuleError,
    fold_prompt,
    parse_rule,
)


def blocks(rule: str, prompt: str, allowed: str = "") -> bool:
    return parse_rule(rule, allowed).match(prompt).is_blocked


@pytest.mark.parametrize(
    ("rule", "prompt", "expected"),
    [
        ("naked", "a NAKED man", True),
        ("naked", "nakedness", False),
        ("nak*", "nakedness", True),
        ("nak*", "snaked", False),
        ("naked man", "a naked, man", True),
        ("naked man", "a man, naked", False),
        ('"naked man"*', "naked manikin", True),
        ("naked AND man", "a man, naked", True),
        ("naked AND man", "naked", False),
        ("naked\nblood", "a bit of blood", True),
        ("naked OR blood AND knife", "blood", False),
        ("(naked OR blood) AND knife", "blood, knife", True),
        ("naked AND NOT statue", "naked statue", False),
        ("naked AND NOT NOT statue", "naked statue", True),
        ("naked and statue", "naked statue", False),  # lower case: a word of the phrase
        ("NOT clothed AND man", "man", True),
        ("straße", "STRASSE", True),
        ("café", "cafe\u0301", True),
        ("naked", "na\u200bked", True),  # an invisible space
        ("naked", "\u202enaked\u202c", True),
        ("عارية", "صورة\u200f عارية\u200f جدا", True),
        ("ערום", "אדם ערום", True),
        ("naked", "", False),
        ("naked", "na-ked", False),
    ],
)
def test_rule_matches_whole_words_in_any_script(rule: str, prompt: str, expected: bool) -> None:
    assert blocks(rule, prompt) is expected


def test_allowed_phrase_hides_only_its_own_words() -> None:
    allowed = "naked mole rat\nnaked mole"

    assert not blocks("naked", "a Naked Mole-Rat in the sun", allowed)
    assert blocks("naked", "naked mole rat and a naked man", allowed)
    assert not blocks("a man", "a naked mole rat man", allowed)  # no new neighbours
    assert not blocks("naked", "naked mole naked mole", allowed)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("", "at least one word"),
        (" \n ", "at least one word"),
        ("NOT naked", "without any of its words"),
        ("blood OR NOT naked", "without any of its words"),
        ("naked AND", "at the end"),
        ("AND naked", "before AND"),
        ("naked AND\nblood", "end of a line"),
        ("(naked", "is open"),
        ("naked)", "was not opened"),
        ("()", "before a parenthesis"),
        ('"naked', "quotation mark"),
        ('"naked" man', "AND or OR between"),
        ("...", "no letter or digit"),
        ("a" * (TEXT_MAX + 1), "longer than"),
        ("\n".join(f"w{n}" for n in range(TERMS_MAX + 1)), "Write up to"),
        ("(" * 30 + "a" + ")" * 30, "nested deeper"),
        ("a AND " + "NOT " * 40 + "b", "nested deeper"),
        ("(" * 1_900, "nested deeper"),
    ],
)
def test_unreadable_rule_says_what_to_write(rule: str, message: str) -> None:
    with pytest.raises(PromptRuleError, match=message):
        parse_rule(rule)


def test_allowed_phrases_are_limited() -> None:
    with pytest.raises(PromptRuleError, match="allowed phrases"):
        parse_rule("naked", "\n".join(f"w{n}" for n in range(ALLOWED_MAX + 1)))


def test_needed_terms_are_those_without_which_the_prompt_passes() -> None:
    rule = parse_rule("naked\nblood AND knife\nknife AND NOT kitchen")

    found = rule.match("blood on a knife")
    assert [str(term) for term in found.terms] == ["blood", "knife"]
    assert [str(term) for term in found.needed] == ["knife"]
    assert [str(term) for term in rule.match("naked").needed] == ["naked"]
    assert rule.match("kitchen knife").terms == ()


def test_matching_equals_a_naive_search_for_all_small_prompts() -> None:
    rule = parse_rule("a b\nc AND NOT b", "b c")

    def naive(words: tuple[str, ...]) -> bool:
        rest = list(words)
        place = 0
        while place < len(rest) - 1:
            if rest[place : place + 2] == ["b", "c"]:
                rest[place : place + 2] = ["|"]
            place += 1
        pairs = list(itertools.pairwise(rest))
        return ("a", "b") in pairs or ("c" in rest and "b" not in rest)

    for length in range(6):
        for words in itertools.product("abc", repeat=length):
            assert rule.match(" ".join(words)).is_blocked is naive(words), words


class CountedText(str):
    """A text that counts how often it is read whole."""

    reads = 0

    def __contains__(self, other: object) -> bool:
        CountedText.reads += 1
        return super().__contains__(str(other))


def test_each_term_reads_a_hostile_prompt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "a " * 9_000 + "b"
    monkeypatch.setattr("moderation.prompt_rules.fold_prompt", lambda text: CountedText(text))
    rule = parse_rule("\n".join(f"{'a ' * 15}c{n}" for n in range(40)))

    assert not rule.match(fold_prompt(hostile)).is_blocked
    assert CountedText.reads == 40
