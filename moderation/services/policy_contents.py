"""The contents of a policy in words, its fingerprint, and the changes between two policies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final

from django.db.models import Model

from generation.models import Source
from moderation import classifiers, taxonomy
from moderation.models import AskRule, Policy, PolicyRule

# Fields that every version gets anew. All others are settings, which a copy takes over.
_OWN: Final = {"id", "version", "summary", "is_active", "created_by", "created_at", "activated_at"}
NEVER: Final = "never"
NOTHING: Final = "none"
# Fields that name and explain a version. They change nothing that it does.
PROSE: Final = ("name", "note", "summary")


def list_settings() -> list[str]:
    """Return the fields that a copy of a policy takes over."""
    return [field.name for field in Policy._meta.concrete_fields if field.name not in _OWN]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One part of a policy in words."""

    key: str
    label: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two policies, in words."""

    label: str
    old: str
    new: str

    def to_json(self) -> dict[str, str]:
        return {"label": self.label, "old": self.old, "new": self.new}


def compute_fingerprint(policy: Policy) -> str:
    """Return the SHA-256 of everything that a person approves: settings, rules, name and note."""
    content = {
        "settings": {name: getattr(policy, name) for name in list_settings()},
        "summary": policy.summary,
        "rules": _list_rows(policy.rules.all()),
        "ask_rules": _list_rows(policy.ask_rules.all()),
        "earned_trusts": _list_rows(policy.earned_trusts.all()),
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=_normalize)
    return hashlib.sha256(text.encode()).hexdigest()


def _normalize(value: Any) -> str:
    """Return a decimal in the stored form: a value that was not read again may have no places."""
    return f"{value:.2f}" if isinstance(value, Decimal) else str(value)


def _list_rows(rows: Iterable[Model]) -> list[str]:
    """Return the contents of rows in an order that depends on nothing else."""
    return sorted(
        json.dumps(
            {
                field.name: getattr(row, field.name)
                for field in row._meta.concrete_fields
                if field.name not in _KEYS
            },
            sort_keys=True,
            ensure_ascii=False,
            default=_normalize,
        )
        for row in rows
    )


_KEYS = ("id", "policy")


def serialize(policy: Policy) -> dict[str, Any]:
    """Return the whole content of a policy with JSON types, for the record."""
    content = {
        "settings": {name: getattr(policy, name) for name in list_settings()},
        "rules": _list_rows(policy.rules.all()),
        "ask_rules": _list_rows(policy.ask_rules.all()),
        "earned_trusts": _list_rows(policy.earned_trusts.all()),
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=_normalize)
    found: dict[str, Any] = json.loads(text)
    return found


def has_content(policy: Policy, recorded: Mapping[str, Any]) -> bool:
    """Return whether a policy has the content that ``serialize`` gave earlier.

    Settings and columns of rules from after that time do not count.
    """
    now = serialize(policy)
    given = recorded["settings"]
    if any(now["settings"].get(name) != value for name, value in given.items()):
        return False
    return all(
        _has_rows(now[name], recorded[name]) for name in ("rules", "ask_rules", "earned_trusts")
    )


def _has_rows(now: list[str], recorded: list[str]) -> bool:
    rows = [json.loads(row) for row in recorded]
    names = set(rows[0]) if rows else set()
    reduced = [
        {name: value for name, value in json.loads(row).items() if name in names} for row in now
    ]
    key = partial(json.dumps, sort_keys=True)
    return sorted(map(key, reduced)) == sorted(map(key, rows))


# --- In words ---
def describe(policy: Policy) -> dict[str, Line]:
    """Return every part of a policy in words, by key."""
    lines = [
        *_describe_settings(policy),
        *_describe_rules(policy),
        *_describe_ask_rules(policy),
        *_describe_trusts(policy),
    ]
    return {line.key: line for line in lines}


def compare(old: Policy | None, new: Policy) -> list[Change]:
    """Return what changes from one policy to another, without name and note."""
    before = describe(old) if old else {}
    after = describe(new)
    changes = []
    for key in [*before, *(key for key in after if key not in before)]:
        one, other = before.get(key), after.get(key)
        old_value = one.value if one else NOTHING
        new_value = other.value if other else NOTHING
        if old_value != new_value:
            shown = other or one
            assert shown is not None
            changes.append(Change(label=shown.label, old=old_value, new=new_value))
    return changes


def format_number(number: Decimal | None) -> str:
    """Return a threshold without needless places; "never" for None."""
    return NEVER if number is None else f"{number.normalize():f}"


def _describe_settings(policy: Policy) -> Iterator[Line]:
    for name in list_settings():
        if name in PROSE:
            continue
        field = Policy._meta.get_field(name)
        label = str(getattr(field, "verbose_name", name))
        yield Line(
            key=name, label=label[:1].upper() + label[1:], value=describe_setting(policy, name)
        )


def describe_setting(policy: Policy, name: str) -> str:
    """Return the value of one setting in words."""
    value = getattr(policy, name)
    match name:
        case "nsfw_level":
            return policy.get_nsfw_level_display()
        case "trusted_silences":
            return ", ".join(map(classifiers.label, value)) or NOTHING
        case "accepted_unchecked":
            return taxonomy.join_names(value) or NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or isinstance(value, Decimal):
        return format_number(value)
    return str(value)


def _describe_rules(policy: Policy) -> Iterator[Line]:
    rules = {rule.category: rule for rule in policy.rules.all()}
    for slug, _ in taxonomy.CHOICES:
        category = taxonomy.get(slug)
        rule = rules.get(slug)
        label = category.name
        if category.parent:
            label = f"{taxonomy.get(category.parent).short}: {category.name}"
        yield Line(key=f"rule {slug}", label=label, value=describe_rule(rule, slug))


def describe_rule(rule: PolicyRule | None, slug: str) -> str:
    """Return the outcomes of a category in words."""
    if rule is None:
        parent = taxonomy.get(slug).parent
        return f"as {taxonomy.get(parent).short}" if parent else "ignored"
    parts = [
        f"{words} from {format_number(limit)}"
        for words, limit in (
            ("a person", rule.review_at),
            ("delivered blurred", rule.blur_at),
            ("rejected", rule.reject_at),
        )
        if limit is not None
    ]
    return "; ".join(parts) or "watched; no confidence stops an image"


def _describe_ask_rules(policy: Policy) -> Iterator[Line]:
    for rule in policy.ask_rules.all():
        name = classifiers.label(rule.classifier)
        yield Line(
            key=f"ask {rule.classifier}", label=f"{name} is asked", value=describe_ask_rule(rule)
        )


def describe_ask_rule(rule: AskRule) -> str:
    """Return the conditions of an ask rule in words."""
    sources: Mapping[str, Any] = dict(Source.choices)
    parts = []
    if rule.asks_from is not None:
        parts.append(f"from score {format_number(rule.asks_from)}")
    if rule.skips_rejected:
        parts.append("not if already rejected")
    if rule.sources:
        parts.append("for " + ", ".join(str(sources.get(slug, slug)) for slug in rule.sources))
    if rule.share is not None:
        parts.append(f"for {rule.share} % of the images")
    return "; ".join(parts)


def _describe_trusts(policy: Policy) -> Iterator[Line]:
    for row in policy.earned_trusts.all():
        name = classifiers.label(row.classifier)
        yield Line(
            key=f"trust {row.classifier} {row.category}",
            label=f"“Nothing found” of {name} for {taxonomy.join_names([row.category])}",
            value=(
                f"counts with at most {format_number(row.misses_max)} % misses"
                f" in audits of {row.get_days_display()}"
            ),
        )
