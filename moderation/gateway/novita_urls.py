"""Included at /v3/, and at //v3/ for clients whose base address ends with a slash. No address ends with one itself."""

from __future__ import annotations

from django.urls import path, re_path

from moderation.gateway import novita, signed

urlpatterns = [
    path("async/txt2img", novita.txt2img, name="novita-txt2img"),
    path("async/task-result", novita.task_result, name="novita-task-result"),
    path("model", novita.models, name="novita-model"),
    path("images/<str:token>.<slug:extension>", signed.image, name="signed-image"),
    re_path(r"[\s\S]*$", novita.unknown),  # <path:…> would leave out addresses with a line end in them
]
