"""Admin pages that only show. History and machine state change through services, never through a form."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest


class _NoWriting:
    """No add, change or delete; every field is shown read-only, so nothing can be smuggled in by a POST either."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyAdmin(_NoWriting, admin.ModelAdmin):  # type: ignore[type-arg]  # generic only for type checkers
    """A list and a page per row, for large tables: no second count of the whole table."""

    show_full_result_count = False
    list_per_page = 50


class ReadOnlyInline(_NoWriting, admin.TabularInline):  # type: ignore[type-arg]
    """Rows that belong to the one on the page."""

    extra = 0
    show_change_link = False
