"""Admin site: access by permission, with the desk's log-in page."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache


class LoupeAdminSite(admin.AdminSite):
    """Admin site for staff and people with ``moderation.use_admin_site``.

    Their permissions decide what they see. Moderators may view reviews and decisions too, but only
    at the desk, which hides the first decision during a second opinion. View permissions alone
    therefore do not open this site.
    """

    site_header = "Loupe"
    site_title = "Admin site"
    index_title = "Records and settings"

    # Names of models of other packages. Their own are too close to each other.
    NAMES: ClassVar[dict[str, str]] = {
        "AccessAttempt": "Failed log-ins that count towards a lock",
        "AccessFailureLog": "All failed log-ins",
        "AccessLog": "Log-ins and log-outs",
    }

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the apps of the index, with names that say what the lists contain."""
        apps = super().get_app_list(request, app_label)
        for app in apps:
            for model in app["models"]:
                model["name"] = self.NAMES.get(model["object_name"], model["name"])
        return apps

    def has_permission(self, request: HttpRequest) -> bool:
        user = request.user
        return user.is_active and (user.is_staff or user.has_perm("moderation.use_admin_site"))

    @method_decorator(never_cache)
    @login_not_required
    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the desk's log-in page.

        Raises PermissionDenied for people who are logged in without access.
        """
        index = reverse("admin:index", current_app=self.name)
        if self.has_permission(request):
            return HttpResponseRedirect(index)
        if request.user.is_authenticated:
            raise PermissionDenied
        return redirect_to_login(request.GET.get("next", index))
