"""Admin site: access by permission, with the desk's log-in page."""

from __future__ import annotations

from functools import wraps
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from generation.core import recent_login


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

    # Records of django-allauth hold secrets of second factors, or have pages at the desk.
    HIDDEN_APPS: ClassVar[set[str]] = {"account", "mfa", "socialaccount"}

    def register(self, model_or_iterable: Any, *args: Any, **options: Any) -> None:
        """Register models, but not those of HIDDEN_APPS."""
        models: Any = (
            [model_or_iterable] if isinstance(model_or_iterable, type) else model_or_iterable
        )
        shown = [model for model in models if model._meta.app_label not in self.HIDDEN_APPS]
        if shown:
            super().register(shown, *args, **options)

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Return the view of an admin page; a change needs a recent log-in."""
        inner = super().admin_view(view, cacheable)

        @wraps(inner)
        def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            is_change = request.method == "POST" and self.has_permission(request)
            if is_change and not recent_login.is_recent(request):
                return recent_login.ask_again(request)
            answer: HttpResponse = inner(request, *args, **kwargs)
            return answer

        return wrapper

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
