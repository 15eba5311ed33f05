from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin as site
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_q.models import Failure, OrmQ, Schedule, Success, Task

from generation.core.admin import BoundedPaginator
from generation.models import Asset, GenerationRequest, JobSlot, RequestTransition, Source
from generation.sandbox.models import SandboxRefusal, SandboxTask

ClientOf = Callable[[User], Client]
Status = GenerationRequest.Status
QUEUE = (Schedule, Success, Failure, OrmQ)
OURS = (GenerationRequest, Asset, JobSlot, SandboxTask, SandboxRefusal)


def page(model: Any, name: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


def task(**fields: Any) -> Task:
    now = timezone.now()
    return Task.objects.create(
        id="a" * 32,
        name="quiet-task",
        func="generation.tasks.submit",
        args=("pickled-secret",),
        kwargs={},
        result="pickled-secret",
        started=now,
        stopped=now,
        **fields,
    )


def row_of(
    model: Any, make_request: Callable[..., GenerationRequest], make_asset: Callable[..., Asset]
) -> Any:
    now = timezone.now()
    if model is GenerationRequest:
        return make_request()
    if model is Asset:
        return make_asset()
    if model is JobSlot:
        return JobSlot.objects.create(name="submit")
    if model is SandboxTask:
        return SandboxTask.objects.create(
            body={}, seed="1", lane=0, submitted_at=now, starts_at=now, ready_at=now
        )
    if model is SandboxRefusal:
        return SandboxRefusal.objects.create(digest="d" * 64)
    if model is Schedule:
        return Schedule.objects.create(
            func="generation.tasks.submit", next_run=now + timedelta(days=900)
        )
    if model is OrmQ:
        return OrmQ.objects.create(key="loupe", payload="signed-secret", lock=now)
    return task(success=model is Success)


@pytest.mark.parametrize("model", [*OURS, *QUEUE])
def test_admin_pages_are_read_only_even_for_a_superuser(
    client_of: ClientOf, admin: User, make_request: Any, make_asset: Any, model: Any
) -> None:
    row, browser = row_of(model, make_request, make_asset), client_of(admin)
    before = model.objects.filter(pk=row.pk).values().get()

    assert browser.get(page(model, "changelist")).status_code == 200
    assert browser.get(page(model, "change", row.pk)).status_code == 200
    assert browser.get(page(model, "add")).status_code == 403
    assert (
        browser.post(page(model, "add"), {"func": "os.system", "args": "'true'"}).status_code == 403
    )
    assert (
        browser.post(
            page(model, "change", row.pk), {"func": "os.system", "status": "failed"}
        ).status_code
        == 403
    )
    assert browser.post(page(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    for action in ("delete_selected", "resubmit_task"):
        browser.post(page(model, "changelist"), {"action": action, "_selected_action": [row.pk]})
    assert model.objects.filter(pk=row.pk).values().get() == before
    assert model.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("model", QUEUE)
def test_staff_with_all_queue_permissions_cannot_add_to_the_queue(
    client_of: ClientOf, model: Any
) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(content_type__app_label="django_q"))
    data = {"func": "os.system", "args": "'touch /tmp/owned'", "schedule_type": "O", "repeats": "1"}

    assert client_of(staff).post(page(model, "add"), data).status_code == 403
    assert not model.objects.exists()


@pytest.mark.parametrize("model", [Success, Failure, OrmQ])
def test_admin_neither_shows_nor_loads_pickles(
    client_of: ClientOf,
    admin: User,
    make_request: Any,
    make_asset: Any,
    model: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = row_of(model, make_request, make_asset)

    def burn(*args: Any) -> None:
        raise AssertionError("a pickle was loaded")

    monkeypatch.setattr("picklefield.fields.dbsafe_decode", burn)
    for address in (page(model, "changelist"), page(model, "change", row.pk)):
        assert b"-secret" not in client_of(admin).get(address).content


def test_every_queue_model_in_the_admin_is_read_only() -> None:
    registered = {model for model in site.site._registry if model._meta.app_label == "django_q"}

    assert registered == set(QUEUE)


def test_admin_searches_and_filters_requests(
    client_of: ClientOf, admin: User, make_request: Any
) -> None:
    wanted = make_request(
        prompt="a lighthouse", provider_task_id="task-7", model_name="birch.safetensors"
    )
    make_request()
    browser = client_of(admin)

    for query in ("lighthouse", "task-7", "birch", str(wanted.uuid), wanted.short_id):
        found = (
            browser.get(page(GenerationRequest, "changelist"), {"q": query})
            .context["cl"]
            .result_list
        )
        assert list(found) == [wanted]
    for filters in ({"status__exact": "failed"}, {"provider": "elsewhere"}):
        found = (
            browser.get(page(GenerationRequest, "changelist"), filters).context["cl"].result_list
        )
        assert list(found) == []


def test_admin_shows_the_history_of_a_request(
    client_of: ClientOf, admin: User, make_request: Any
) -> None:
    request = make_request()
    RequestTransition.objects.create(
        request=request, old="queued", new="submitting", reason="a note of history"
    )

    shown = client_of(admin).get(page(GenerationRequest, "change", request.pk)).content.decode()

    assert "a note of history" in shown
    assert 'type="text"' not in shown
    assert "<textarea" not in shown


def act(browser: Client, action: str, *requests: GenerationRequest) -> str:
    data = {"action": action, "_selected_action": [request.pk for request in requests]}
    return browser.post(page(GenerationRequest, "changelist"), data, follow=True).content.decode()


def test_admin_actions_retry_failed_and_give_up_unknown_requests(
    client_of: ClientOf, admin: User, make_request: Any
) -> None:
    failed = make_request(status=Status.FAILED, error="It went wrong.", finished_at=timezone.now())
    unknown = make_request(status=Status.UNKNOWN, error="Nobody knows.")
    queued = make_request()
    browser = client_of(admin)

    assert "1 of 3 chosen requests sent again." in act(
        browser, "retry_failed", failed, unknown, queued
    )
    assert "1 of 2 chosen requests given up." in act(browser, "give_up_unknown", unknown, queued)

    for request in (failed, unknown, queued):
        request.refresh_from_db()
    assert (failed.status, unknown.status, queued.status) == (
        Status.QUEUED,
        Status.FAILED,
        Status.QUEUED,
    )
    assert failed.transitions.count() == unknown.transitions.count() == 1


def test_admin_action_without_permission_changes_nothing(
    client_of: ClientOf, auditor: User, make_request: Any
) -> None:
    failed = make_request(status=Status.FAILED, error="It went wrong.", finished_at=timezone.now())

    act(client_of(auditor), "retry_failed", failed)

    failed.refresh_from_db()
    assert failed.status == Status.FAILED


def test_admin_shows_only_the_blurred_preview_of_an_image(
    client_of: ClientOf, admin: User, make_request: Any, make_asset: Any
) -> None:
    asset = make_asset(source=Source.TXT2IMG, request=make_request(), position=0)

    for address in (page(Asset, "changelist"), page(Asset, "change", asset.pk)):
        shown = client_of(admin).get(address).content.decode()
        pictures = [
            source
            for source in re.findall(r'<img[^>]* src="([^"]+)"', shown)
            if "/static/" not in source
        ]
        assert pictures == [asset.preview]
        assert asset.file_url not in shown
        assert asset.thumbnail_url not in shown
        assert asset.review.get_absolute_url() in shown


def test_admin_paginator_stops_counting_at_its_maximum(
    make_request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedPaginator, "COUNT_MAX", 2)
    for _ in range(4):
        make_request()

    assert BoundedPaginator(GenerationRequest.objects.order_by("pk"), 10).count == 2
