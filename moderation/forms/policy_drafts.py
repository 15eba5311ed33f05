"""The form of a draft: settings, one rule for each category, ask rules and earned trust."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from django import forms
from django.forms.models import BaseInlineFormSet, inlineformset_factory, modelform_factory
from django.http import QueryDict

from moderation import taxonomy
from moderation.forms.policies import AskRuleForm, EarnedTrustForm, PolicyForm
from moderation.models import AskRule, EarnedTrust, Policy, PolicyRule
from moderation.services.policy_contents import PROSE, list_settings

# The limits of a rule in their order, with the words of the page.
LIMITS: Final = {"review_at": "Person from", "blur_at": "Blurred from", "reject_at": "Reject from"}


def _build_limit(label: str) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        min_value=0,
        max_value=100,
        max_digits=5,
        decimal_places=2,
        required=False,
        error_messages={
            "invalid": f"{label} must be a number from 0 to 100, or empty for “never”.",
            "min_value": f"{label} must be at least 0.",
            "max_value": f"{label} must be at most 100.",
            "max_decimal_places": f"{label} has at most two decimal places.",
            "max_digits": f"{label} has at most two decimal places.",
        },
    )


class CategoryRuleForm(forms.Form):
    """The rule of one category, which may have none."""

    is_on = forms.BooleanField(required=False)
    review_at = _build_limit(LIMITS["review_at"])
    blur_at = _build_limit(LIMITS["blur_at"])
    reject_at = _build_limit(LIMITS["reject_at"])

    def __init__(
        self, data: QueryDict | None, *, category: taxonomy.Category, rule: PolicyRule | None
    ) -> None:
        self.category, self.rule = category, rule
        initial: dict[str, Any] = {"is_on": rule is not None}
        initial |= {name: getattr(rule, name, None) for name in LIMITS}
        super().__init__(data, prefix=f"rule-{category.slug}", initial=initial)
        words = "Own rule" if category.parent else "Watch"
        self.fields["is_on"].label = words
        self.fields["is_on"].widget.attrs["aria-label"] = f"{words}: {category.name}"
        for name, label in LIMITS.items():
            # HTML without JavaScript: any number from 0 to 100.
            self.fields[name].widget.attrs |= {
                "step": "any",
                "placeholder": "never",
                "data-limit": name.removesuffix("_at"),
                "aria-label": f"{label}, {category.name}",
            }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        given = [(name, cleaned.get(name)) for name in LIMITS]
        known = [(name, limit) for name, limit in given if limit is not None]
        for (lower, least), (name, limit) in pairwise(known):
            if limit < least:
                self.add_error(
                    name,
                    f"{LIMITS[name]} must be at least {LIMITS[lower].lower()} ({least:g}) for"
                    f" {self.category.name}.",
                )
        return cleaned

    def read_limits(self) -> dict[str, Decimal | None] | None:
        """Return the limits; None for no rule."""
        if not self.cleaned_data["is_on"]:
            return None
        return {name: self.cleaned_data[name] for name in LIMITS}


class _RowFormSet(BaseInlineFormSet[Any, Policy, Any]):
    """Rows with a sentence for two rows of the same kind."""

    def get_unique_error_message(self, unique_check: Any) -> str:
        names = " and ".join(name for name in unique_check if name != "policy")
        return f"Two rows have the same {names}. Remove one of them."

    def get_form_error(self) -> str:
        return "This row repeats another one. Remove one of them."


AskRuleFormSet = inlineformset_factory(
    Policy, AskRule, form=AskRuleForm, formset=_RowFormSet, extra=1, can_delete=True
)
EarnedTrustFormSet = inlineformset_factory(
    Policy, EarnedTrust, form=EarnedTrustForm, formset=_RowFormSet, extra=1, can_delete=True
)
SettingsForm = modelform_factory(Policy, form=PolicyForm, fields=[*list_settings(), "summary"])


class DraftForm:
    """All parts of a draft as one form."""

    def __init__(self, policy: Policy, data: QueryDict | None = None) -> None:
        rules = {rule.category: rule for rule in policy.rules.all()}
        self.policy = policy
        self.settings = SettingsForm(data, instance=policy)
        self.rules = {
            slug: CategoryRuleForm(data, category=taxonomy.get(slug), rule=rules.get(slug))
            for slug, _ in taxonomy.CHOICES
        }
        self.ask_rules = AskRuleFormSet(data, instance=policy, prefix="ask")
        self.earned_trusts = EarnedTrustFormSet(data, instance=policy, prefix="trust")

    @property
    def _parts(self) -> list[Any]:
        return [self.settings, *self.rules.values(), self.ask_rules, self.earned_trusts]

    def is_valid(self) -> bool:
        return all(part.is_valid() for part in self._parts)

    def has_changed(self) -> bool:
        return any(part.has_changed() for part in self._parts)

    def list_errors(self) -> list[str]:
        """Return all errors as sentences, for the top of the page."""
        return list(dict.fromkeys(self._iter_errors()))

    def _iter_errors(self) -> Iterator[str]:
        for form in self.rules.values():
            for errors in form.errors.values():
                yield from map(str, errors)
        rows: list[Any] = [self.settings, *self.ask_rules.forms, *self.earned_trusts.forms]
        for part in rows:
            for name, errors in part.errors.items():
                label = part.fields[name].label if name in part.fields else ""
                for error in errors:
                    yield f"{label}: {error}" if label else str(error)
        for formset in (self.ask_rules, self.earned_trusts):
            yield from map(str, formset.non_form_errors())

    def save(self) -> None:
        """Store everything. Removes a summary that may no longer be true."""
        changed = set(self.settings.changed_data)
        has_new_rules = bool(changed - set(PROSE)) or any(
            part.has_changed() for part in self._parts[1:]
        )
        if has_new_rules and "summary" not in changed:
            self.settings.instance.summary = ""
        self.settings.save()
        for slug, form in self.rules.items():
            limits = form.read_limits()
            rows = PolicyRule.objects.filter(policy=self.policy, category=slug)
            if limits is None:
                rows.delete()
            elif not rows.update(**limits):
                PolicyRule.objects.create(policy=self.policy, category=slug, **limits)
        self.ask_rules.save()
        self.earned_trusts.save()
