"""URLs below /sandbox/, with or without a trailing slash as at the providers."""

from __future__ import annotations

from django.urls import path

from generation.sandbox import hma, nanogpt, openai, rekognition, scenario, views, vlm

app_name = "sandbox"
urlpatterns = [
    path("novita/v3/async/txt2img", views.txt2img, name="novita-txt2img"),
    path("novita/v3/async/task-result", views.task_result, name="novita-task-result"),
    path("novita/v3/model", views.models, name="novita-model"),
    path(
        "novita/images/<uuid:task_id>/<int:position>.<slug:extension>",
        views.image,
        name="novita-image",
    ),
    path("nano-gpt/api/nsfw/image", nanogpt.classify, name="nanogpt-classify"),
    path("nano-gpt/api/check-balance", nanogpt.balance, name="nanogpt-balance"),
    path("vlm/v1/chat/completions", vlm.complete, name="vlm-complete"),
    path("vlm/v1/models", vlm.models, name="vlm-models"),
    path("rekognition/", rekognition.call, name="rekognition"),
    path("openai/v1/moderations", openai.moderate, name="openai-moderations"),
    path("hma/m/lookup", hma.look_up, name="hma-lookup"),
    path("hma/m/index/status", hma.show_status, name="hma-status"),
    path("scenario/v1/assets", scenario.assets, name="scenario-assets"),
    path("scenario/v1/assets/get-bulk", scenario.assets_in_bulk, name="scenario-assets-in-bulk"),
    path("scenario/v1/assets/<str:asset_id>", scenario.asset, name="scenario-asset"),
    path("scenario/images/<str:asset_id>", scenario.image, name="scenario-image"),
]
