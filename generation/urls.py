from __future__ import annotations

from django.urls import path

from generation.views import assets, model_picker, provider_webhooks, requests

app_name = "generation"
urlpatterns = [
    path("requests/", requests.request_list, name="request-list"),
    path("requests/new/", requests.request_create, name="request-create"),
    path("requests/models/", model_picker.model_list, name="model-list"),
    path("requests/<uuid:uuid>/", requests.request_detail, name="request-detail"),
    path("requests/<uuid:uuid>/cancellation/", requests.request_cancel, name="request-cancel"),
    path("requests/<uuid:uuid>/retry/", requests.request_retry, name="request-retry"),
    path("requests/<uuid:uuid>/abandonment/", requests.request_give_up, name="request-give-up"),
    path("assets/<uuid:uuid>/file", assets.asset_file, name="asset-file"),
    path("assets/<uuid:uuid>/thumbnail", assets.asset_thumbnail, name="asset-thumbnail"),
    path("assets/<uuid:uuid>/views/<slug:kind>", assets.asset_view, name="asset-view"),
    path("assets/<uuid:uuid>/preview", assets.asset_preview),  # the former URL
    path("webhooks/novita/<str:secret>", provider_webhooks.novita_webhook, name="novita-webhook"),
]
