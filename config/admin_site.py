"""The admin site: opened by permission, through the log-in of the desk."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache


class LoupeAdminSite(admin.AdminSite):
    """Open to people with ``moderation.use_admin_site`` and to staff. What each sees in it, their
    permissions say.

    Moderators may view reviews and decisions too, but at the desk, which keeps from them what a
    second opinion must not know. So view permissions alone do not open this site.
    """

    site_header = site_title = "Loupe"
    index_title = "Records and settings"

    def has_permission(self, request: HttpRequest) -> bool:
        user = request.user
        return user.is_active and (user.is_staff or user.has_perm("moderation.use_admin_site"))

    @method_decorator(never_cache)
    @login_not_required
    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Send people to the one log-in page. Raises PermissionDenied for those whom a log-in would
        not help.
        """
        index = reverse("admin:index", current_app=self.name)
        if self.has_permission(request):
            return HttpResponseRedirect(index)
        if request.user.is_authenticated:
            raise PermissionDenied
        return redirect_to_login(request.GET.get("next", index))
