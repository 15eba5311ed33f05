from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path

from config import views
from moderation.views import dashboard, providers, wellbeing

handler429 = views.show_rate_limit  # of django-allauth
handler500 = views.server_error

urlpatterns = [
    # URL patterns are tried in order, and most requests are for the desk.
    path("", include("moderation.urls")),
    path("", dashboard.home, name="home"),
    path("", include("config.auth.urls")),
    path("providers/", providers.providers, name="providers"),
    path("providers/<slug:slug>/check/", providers.check, name="provider-check"),
    path("preferences/", wellbeing.preferences, name="preferences"),
    path("", include("generation.urls")),
    path("admin/", admin.site.urls),
]
if settings.SANDBOX:
    urlpatterns.append(path("sandbox/", include("generation.sandbox.urls")))
if settings.DEBUG:
    urlpatterns.append(re_path("", views.unknown_url))
