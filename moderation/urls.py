from __future__ import annotations

from django.urls import include, path, re_path

from moderation import exports, views
from moderation.gateway import developers, nanogpt, novita_urls, openapi, scenario

app_name = "moderation"
urlpatterns = [
    path("queues/", views.queue_list, name="queue-list"),
    path("queues/<slug:slug>/", views.queue_detail, name="queue-detail"),
    path("queues/<slug:slug>/claims/", views.claim_next, name="claim-next"),
    path("reviews/<uuid:uuid>/", views.review_detail, name="review-detail"),
    path("reviews/<uuid:uuid>/claim/", views.review_claim, name="review-claim"),
    path("reviews/<uuid:uuid>/decisions/", views.decision_create, name="decision-create"),
    path("reviews/<uuid:uuid>/skip/", views.review_skip, name="review-skip"),
    path("decisions/", views.decision_list, name="decision-list"),
    path("decisions/<uuid:uuid>/reversal/", views.decision_reverse, name="decision-reverse"),
    path("undo/", views.undo, name="undo"),
    path("exports/decisions.csv", exports.decisions_csv, name="decisions-csv"),
    path("developers/", developers.developers, name="developers"),
    # Other services' addresses: none ends with a slash.
    path("api/nsfw/image", nanogpt.classify, name="nanogpt-classify"),
    path("api/openapi.json", openapi.document, name="openapi"),
    path("api/docs", openapi.docs, name="api-docs"),
    path("v1/assets", scenario.assets, name="scenario-assets"),
    path("v1/assets/<str:asset_id>", scenario.asset, name="scenario-asset"),
    re_path(r"v1/[\s\S]*$", scenario.unknown),
    path("/v3/", include(novita_urls)),  # what an address becomes when the base in front of it ends with a slash
    path("v3/", include(novita_urls)),
]
