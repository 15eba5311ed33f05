"""Admin pages that only show. History and machine state change through services, never through a
form.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from generation.core.typing import AnyModelAdmin, AnyPaginator, AnyTabularInline


class BoundedPaginator(AnyPaginator):
    """Counts no further than anybody pages by hand: on a large table the exact count would cost
    more than the page.
    """

    COUNT_MAX = 10_000

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return (
            rows.order_by()[: self.COUNT_MAX].count() if isinstance(rows, QuerySet) else len(rows)
        )


class _NoWriting:
    """No add, change or delete; every field is shown read-only, so nothing can be smuggled in by a
    POST either.
    """

    exclude: ClassVar[Any] = None
    readonly_fields: ClassVar[Any] = ()
    opts: Any
    fields: ClassVar[Any]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        own = [field.name for field in self.opts.fields if field.name not in (self.exclude or ())]
        # What is shown of a row may be one of its properties, which no form knows.
        return list(dict.fromkeys([*own, *self.readonly_fields, *(self.fields or ())]))


class ReadOnlyAdmin(_NoWriting, AnyModelAdmin):
    """A list and a page per row, for large tables."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each facet counts the whole table
    list_per_page = 50


class ReadOnlyInline(_NoWriting, AnyTabularInline):
    """Rows that belong to the one on the page."""

    extra = 0
    show_change_link = False
