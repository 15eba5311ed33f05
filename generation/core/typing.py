"""Classes that are generic in Django's type stubs and not in Django: here, so that no subclass
needs an excuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.core.paginator import Paginator
from django.forms import ModelForm

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyTabularInline = admin.TabularInline[Any, Any]
    AnyModelForm = ModelForm[Any]
    AnyPaginator = Paginator[Any]
    AnyUserAdmin = UserAdmin[Any]
    AnyGroupAdmin = GroupAdmin
else:
    AnyModelAdmin, AnyTabularInline = admin.ModelAdmin, admin.TabularInline
    AnyModelForm, AnyPaginator, AnyUserAdmin, AnyGroupAdmin = (
        ModelForm,
        Paginator,
        UserAdmin,
        GroupAdmin,
    )
