"""Read-only admin pages: history and job state change only through services."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property


class BoundedPaginator(Paginator[Any]):
    """A paginator that counts at most COUNT_MAX rows.

    On a large table the exact count costs more than the page.
    """

    COUNT_MAX = 10_000

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return (
            rows.order_by()[: self.COUNT_MAX].count() if isinstance(rows, QuerySet) else len(rows)
        )


class _NoWriting:
    """Mixin without add, change or delete.

    Every field is read-only, so a forged POST cannot change it either.
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
        # A displayed name may be a property, which is not a form field.
        return list(dict.fromkeys([*own, *self.readonly_fields, *(self.fields or ())]))


class ReadOnlyAdmin(_NoWriting, admin.ModelAdmin[Any]):
    """A read-only list and page per row, for large tables."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each facet counts the whole table
    list_per_page = 50


class ReadOnlyInline(_NoWriting, admin.TabularInline[Any, Any]):
    """Read-only rows related to the one on the page."""

    extra = 0
    show_change_link = False
