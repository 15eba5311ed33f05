"""The URLs below /v3/, and below //v3/ for clients whose base URL ends with a slash.

No URL ends with a slash.
"""

from __future__ import annotations

from django.urls import path, re_path

from moderation.api import signed_urls
from moderation.api.novita import views

urlpatterns = [
    path("async/txt2img", views.txt2img, name="novita-txt2img"),
    path("async/task-result", views.task_result, name="novita-task-result"),
    path("model", views.models, name="novita-model"),
    path("images/<str:token>.<slug:extension>", signed_urls.serve_image, name="signed-image"),
    # <path:…> does not match URLs with a line break.
    re_path(r"[\s\S]*$", views.unknown),
]
