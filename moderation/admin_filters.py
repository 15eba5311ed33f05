"""Filters of the admin lists of classifications and labels.

None of them reads a whole table: choices come from the settings and from the newest runs.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from generation.core.db.functions import Unsought
from moderation import classifiers, taxonomy
from moderation.models import Classification, Label
from moderation.search.conditions import id_list

RECENT_RUNS = 2000  # newest classifications whose classifiers and versions are offered
RARE_MAX = 10_000  # labels of a rare category


def list_recent_versions() -> list[tuple[str, str]]:
    """Return the classifiers and versions of the newest classifications."""
    runs = Classification.objects.order_by("-pk").values_list("classifier", "version")
    return sorted(set(runs[:RECENT_RUNS]))


def list_rare(slug: str) -> list[int] | None:
    """Return the labels of a category, with its L2s; None if there are more than RARE_MAX."""
    slugs = [slug, *(child.slug for child in taxonomy.list_children(slug))]
    found = list(
        Label.objects.filter(category__in=slugs).values_list("pk", flat=True)[: RARE_MAX + 1]
    )
    return found if len(found) <= RARE_MAX else None


class ClassifierFilter(admin.SimpleListFilter):
    title = "classifier"
    parameter_name = "classifier"
    path = ""  # field path of the classification

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        recent = {slug for slug, _ in list_recent_versions()}
        return [
            (slug, classifiers.label(slug))
            for slug in sorted({*settings.CLASSIFIER_BACKENDS, *recent})
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        slug = self.value()
        return queryset.filter(**{f"{self.path}classifier": slug}) if slug else queryset


class VersionFilter(admin.SimpleListFilter):
    """A version of a classifier, of those that ran recently."""

    title = "version"
    parameter_name = "version"
    path = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            (f"{slug}:{version}", f"{classifiers.label(slug)} {version}")
            for slug, version in list_recent_versions()
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        slug, _, version = (self.value() or "").partition(":")
        if not slug:
            return queryset
        return queryset.filter(**{f"{self.path}classifier": slug, f"{self.path}version": version})


class LabelClassifierFilter(ClassifierFilter):
    path = "classification__"


class LabelVersionFilter(VersionFilter):
    path = "classification__"


class CategoryFilter(admin.SimpleListFilter):
    """A category of the taxonomy. An L1 includes its L2s."""

    title = "category"
    parameter_name = "category"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            (category.slug, category.name if category is l1 else f"– {category.name}")
            for l1, children in taxonomy.iter_tree()
            for category in (l1, *children)
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        slug = self.value()
        if not slug:
            return queryset
        rare = list_rare(slug)
        if rare is not None:
            return queryset.filter(pk__in=id_list(rare))
        slugs = [slug, *(child.slug for child in taxonomy.list_children(slug))]
        # Not by its index: SQLite would then read and sort every label of a frequent category.
        rows: QuerySet[Any] = queryset.alias(category_here=Unsought("category"))
        return rows.filter(category_here__in=slugs)


class ConfidenceFilter(admin.SimpleListFilter):
    title = "confidence"
    parameter_name = "confidence"
    RANGES = {
        "90": ("90 to 100", Q(confidence__gte=90)),
        "70": ("70 to 90", Q(confidence__gte=70, confidence__lt=90)),
        "50": ("50 to 70", Q(confidence__gte=50, confidence__lt=70)),
        "0": ("below 50", Q(confidence__lt=50)),
        "none": ("none given", Q(confidence__isnull=True)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, words) for value, (words, _) in self.RANGES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.RANGES.get(self.value() or "")
        return queryset.filter(chosen[1]) if chosen else queryset
