from __future__ import annotations

from django.urls import path

from generation import api, picker, views

app_name = "generation"
urlpatterns = [
    path("requests/", views.request_list, name="request-list"),
    path("requests/new/", views.request_create, name="request-create"),
    path("requests/models/", picker.model_list, name="model-list"),
    path("requests/<uuid:uuid>/", views.request_detail, name="request-detail"),
    path("requests/<uuid:uuid>/cancellation/", views.request_cancel, name="request-cancel"),
    path("requests/<uuid:uuid>/retry/", views.request_retry, name="request-retry"),
    path("requests/<uuid:uuid>/abandonment/", views.request_give_up, name="request-give-up"),
    path("assets/<uuid:uuid>/file", views.asset_file, name="asset-file"),
    path("assets/<uuid:uuid>/preview", views.asset_preview, name="asset-preview"),
    path("webhooks/novita/<str:secret>", api.novita_webhook, name="novita-webhook"),
]
