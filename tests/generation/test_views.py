from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from generation.models import Asset, GenerationRequest, RemoteImage, RequestTransition, Source
from generation.services import model_catalog
from generation.views import request_list
from tests.generation.test_forms import sent

Status = GenerationRequest.Status
ClientOf = Callable[[User], Client]
Make = Callable[..., GenerationRequest]
LIST, NEW = "/requests/", "/requests/new/"
SIGNED = "https://images.example/1.png?X-Amz-Signature=c0ffee"


@pytest.fixture(autouse=True)
def _models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        model_catalog, "suggest_checkpoints", lambda slug: [("alder.safetensors", "Alder")]
    )


def put(request: GenerationRequest, status: str, **fields: Any) -> GenerationRequest:
    """Set the status of a request directly, without transitions."""
    if status in Status.FAILED + Status.UNKNOWN:
        fields.setdefault("error", "It went wrong.")
    fields.setdefault(
        "finished_at", timezone.now() if status in GenerationRequest.FINISHED else None
    )
    GenerationRequest.objects.filter(pk=request.pk).update(status=status, **fields)
    request.refresh_from_db()
    return request


def at(request: GenerationRequest, action: str) -> str:
    return reverse(f"generation:request-{action}", args=[request.uuid])


# --- The list ---


def test_anonymous_request_is_redirected_to_the_log_in(client: Client, make_request: Make) -> None:
    request = make_request()

    for address in (LIST, NEW, request.get_absolute_url()):
        answer = client.get(address)
        assert (answer.status_code, answer["Location"]) == (302, f"/login/?next={address}")


def test_request_list_shows_the_newest_first(
    client_of: ClientOf, moderator: User, make_request: Make
) -> None:
    now = timezone.now()
    for minutes, prompt in ((5, "older one"), (1, "newer one"), (9, "oldest one")):
        make_request(prompt=prompt, created_at=now - timedelta(minutes=minutes))

    page = client_of(moderator).get(LIST).content.decode()

    assert page.index("newer one") < page.index("older one") < page.index("oldest one")


def test_request_list_pages_have_no_gap_and_no_repetition(
    client_of: ClientOf, moderator: User, make_request: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_list, "PAGE_SIZE", 3)
    moment = timezone.now()
    expected = {make_request(created_at=moment).pk for _ in range(4)} | {
        make_request().pk for _ in range(4)
    }
    browser, seen, address = client_of(moderator), [], LIST

    while address:
        page = browser.get(address).context["page"]
        seen += [row.pk for row in page.rows]
        address = f"{LIST}?before={page.last.uuid}" if page.has_older else ""
        make_request(prompt="came meanwhile")

    assert len(seen) == len(set(seen)) == 8
    assert set(seen) == expected


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?status=open", {"queued"}),
        ("?status=failed", {"failed"}),
        ("?status=queued", {"queued"}),
        ("?q=HARBOUR", {"queued", "failed"}),
        ("?q=harbour&status=failed", {"failed"}),
        ("?q=birch.safe", {"failed"}),
        ("?q=100%25", set()),
        ("?q=nothing+like+it", set()),
        ("?status=nonsense", {"queued", "failed"}),
        ("?before=nonsense", {"queued", "failed"}),
        ("?before=00000000-0000-4000-8000-000000000000", {"queued", "failed"}),
    ],
)
def test_request_list_is_filtered_by_query_parameters(
    client_of: ClientOf, moderator: User, make_request: Make, query: str, found: set[str]
) -> None:
    make_request()
    put(make_request(model_name="birch.safetensors"), Status.FAILED)

    page = client_of(moderator).get(LIST + query).context["page"]

    assert {row.status for row in page.rows} == found


def test_request_is_found_by_its_ids(
    client_of: ClientOf, moderator: User, make_request: Make
) -> None:
    wanted = make_request(provider_task_id="task-1")
    make_request()

    for query in (str(wanted.uuid), wanted.short_id, "task-1"):
        assert client_of(moderator).get(LIST, {"q": query}).context["page"].rows == [wanted]


def test_request_list_polls_only_while_a_request_is_open(
    client_of: ClientOf, moderator: User, make_request: Make
) -> None:
    browser, request = client_of(moderator), make_request(prompt="a harbour")

    for status in Status.values:
        put(request, status)
        part = browser.get(f"{LIST}?q=harbour", headers={"HX-Request": "true"})
        assert b"<html" not in part.content
        assert part["Vary"].count("HX-Request") == 1
        assert (b'hx-trigger="every 2s"' in part.content) is (status in GenerationRequest.OPEN)
        assert (b'hx-get="/requests/?q=harbour"' in part.content) is (
            status in GenerationRequest.OPEN
        )


def test_request_list_shows_progress_and_only_blurred_previews(
    client_of: ClientOf, moderator: User, make_request: Make, make_asset: Callable[..., Asset]
) -> None:
    put(make_request(), Status.PROCESSING, progress=37, eta_seconds=4)
    done = put(make_request(), Status.SUCCEEDED)
    asset = make_asset(source=Source.TXT2IMG, request=done, position=0)

    page = client_of(moderator).get(LIST).content.decode()

    assert 'max="100" value="37"' in page
    assert "37 % · 4 s left" in page
    assert asset.preview in page
    assert asset.thumbnail_url not in page


def test_request_list_needs_the_same_queries_for_one_and_many_rows(
    client_of: ClientOf,
    moderator: User,
    make_request: Make,
    make_asset: Callable[..., Asset],
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    browser = client_of(moderator)

    def add() -> None:
        done = put(make_request(requested_by=moderator), Status.SUCCEEDED)
        make_asset(source=Source.TXT2IMG, request=done, position=0)

    add()
    with CaptureQueriesContext(connection) as one:
        browser.get(LIST)
    for _ in range(5):
        add()
    with django_assert_num_queries(len(one)):
        browser.get(LIST)


def test_user_without_permission_gets_no_preview(
    client_of: ClientOf, make_request: Make, make_asset: Callable[..., Asset]
) -> None:
    request = put(make_request(), Status.SUCCEEDED)
    asset = make_asset(source=Source.TXT2IMG, request=request, position=0)
    browser = client_of(User.objects.create_user("visitor"))

    for address in (LIST, request.get_absolute_url()):
        page = browser.get(address).content.decode()
        assert asset.preview not in page
        assert str(asset.uuid) not in page


# --- One request ---


def test_request_page_shows_fields_history_and_images(
    client_of: ClientOf,
    moderator: User,
    make_request: Make,
    make_asset: Callable[..., Asset],
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    request = put(make_request(negative_prompt="fog", seed=4242, image_num=3), Status.SUCCEEDED)
    RequestTransition.objects.create(request=request, old="", new="queued")
    for position in (0, 1):
        asset = make_asset(source=Source.TXT2IMG, request=request, position=position)
    RemoteImage.objects.create(
        request=request,
        position=2,
        status="failed",
        expires_at=timezone.now(),
        error="The address had expired.",
    )

    browser = client_of(moderator)

    with django_assert_max_num_queries(10):
        page = browser.get(request.get_absolute_url()).content.decode()

    for text in (
        request.prompt,
        "fog",
        "4242",
        "Queued",
        "The address had expired.",
        asset.preview,
    ):
        assert text in page
    assert asset.review.get_status_display() in page
    assert asset.review.get_absolute_url() in page
    assert asset.thumbnail_url not in page


def test_request_page_shows_thumbnails_only_on_request(
    client_of: ClientOf, moderator: User, make_request: Make, make_asset: Callable[..., Asset]
) -> None:
    request = put(make_request(), Status.PROCESSING)
    asset = make_asset(source=Source.TXT2IMG, request=request, position=0)

    shown = client_of(moderator).get(f"{request.get_absolute_url()}?images=shown").content.decode()

    assert asset.thumbnail_url in shown
    assert f'hx-get="{request.get_absolute_url()}?images=shown"' in shown


def test_request_page_polls_only_while_the_request_is_open(
    client_of: ClientOf, moderator: User, make_request: Make
) -> None:
    browser, request = client_of(moderator), make_request()

    for status in Status.values:
        part = browser.get(
            put(request, status).get_absolute_url(), headers={"HX-Request": "true"}
        ).content
        assert b"<html" not in part
        assert (b'hx-trigger="every 2s"' in part) is (status in GenerationRequest.OPEN)


def test_finished_request_page_polls_until_its_images_are_classified(
    client_of: ClientOf, moderator: User, make_request: Make, make_asset: Callable[..., Asset]
) -> None:
    request = put(make_request(), Status.SUCCEEDED)
    asset = make_asset(source=Source.TXT2IMG, request=request, position=0)
    review = type(asset.review).objects.filter(asset=asset)

    review.update(status="classifying")
    assert (
        b'hx-trigger="load delay:2s"'
        in client_of(moderator).get(request.get_absolute_url()).content
    )
    review.update(status="pending")
    assert b"hx-trigger" not in client_of(moderator).get(request.get_absolute_url()).content


def test_unknown_request_returns_404(client_of: ClientOf, moderator: User) -> None:
    assert client_of(moderator).get(f"/requests/{uuid.uuid4()}/").status_code == 404


@pytest.mark.parametrize("status", Status.values)
def test_request_page_shows_only_possible_actions(
    client_of: ClientOf, moderator: User, senior: User, make_request: Make, status: str
) -> None:
    request = put(make_request(requested_by=moderator), status)

    def offered(user: User) -> set[str]:
        page = client_of(user).get(request.get_absolute_url()).content.decode()
        return {
            name
            for name in ("cancel", "retry", "give-up")
            if f'action="{at(request, name)}"' in page
        }

    mine = {"cancel"} if status == "queued" else set()
    assert offered(moderator) == mine
    assert offered(senior) == mine | {"failed": {"retry"}, "unknown": {"retry", "give-up"}}.get(
        status, set()
    )


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("cancel", Status.QUEUED, Status.CANCELLED),
        ("retry", Status.FAILED, Status.QUEUED),
        ("retry", Status.UNKNOWN, Status.QUEUED),
        ("give-up", Status.UNKNOWN, Status.FAILED),
    ],
)
def test_repeated_action_returns_409_and_changes_nothing(
    client_of: ClientOf, senior: User, make_request: Make, action: str, before: str, after: str
) -> None:
    request, browser = put(make_request(), before), client_of(senior)

    answer = browser.post(at(request, action))
    again = browser.post(at(request, action))
    part = browser.post(at(request, action), headers={"HX-Request": "true"})

    assert (answer.status_code, answer["Location"]) == (302, request.get_absolute_url())
    assert (again.status_code, part.status_code) == (409, 409)
    assert b"no longer possible" in again.content
    assert b"no longer possible" in part.content
    assert b"<html" in again.content
    assert b"<html" not in part.content
    request.refresh_from_db()
    assert request.status == after
    assert request.transitions.count() == 1


def test_htmx_gets_the_changed_panel(client_of: ClientOf, senior: User, make_request: Make) -> None:
    request = make_request()

    answer = client_of(senior).post(at(request, "cancel"), headers={"HX-Request": "true"})

    assert answer.status_code == 200
    assert b'data-status="cancelled"' in answer.content
    assert b"<html" not in answer.content


@pytest.mark.parametrize("action", ["cancel", "retry", "give-up"])
def test_actions_need_permission_and_post(
    client_of: ClientOf,
    moderator: User,
    auditor: User,
    senior: User,
    make_request: Make,
    action: str,
) -> None:
    request = put(
        make_request(requested_by=senior),
        {"cancel": "queued", "retry": "failed"}.get(action, "unknown"),
    )
    before = request.status

    assert client_of(moderator).post(at(request, action)).status_code == 403
    assert client_of(auditor).post(at(request, action)).status_code == 403
    assert client_of(senior).get(at(request, action)).status_code == 405
    request.refresh_from_db()
    assert request.status == before
    assert client_of(senior).post(at(request, action)).status_code == 302


def test_posts_without_csrf_token_are_refused(senior: User, make_request: Make) -> None:
    request = make_request()
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(senior)

    for address in (NEW, at(request, "cancel"), at(request, "retry"), at(request, "give-up")):
        assert browser.post(address, sent()).status_code == 403


# --- All pages ---


def test_get_and_head_run_only_select_queries(
    client_of: ClientOf, senior: User, make_request: Make, make_asset: Callable[..., Asset]
) -> None:
    request = put(make_request(), Status.SUCCEEDED)
    asset = make_asset(source=Source.TXT2IMG, request=request, position=0)
    browser = client_of(senior)
    browser.get(LIST)

    addresses = (
        LIST,
        f"{LIST}?q=a&status=open",
        NEW,
        f"{NEW}?from={request.uuid}",
        request.get_absolute_url(),
    )
    for address in (*addresses, asset.file_url, asset.thumbnail_url):
        for method in (browser.get, browser.head):
            with CaptureQueriesContext(connection) as queries:
                answer = method(address)
                assert answer.status_code == 200
                b"".join(answer)
            written = [query["sql"] for query in queries if not query["sql"].startswith("SELECT")]
            # Looking at an image leaves a trace, which is no change.
            traces = [sql for sql in written if 'INTO "moderation_accesstrace"' in sql]
            assert len(traces) <= (address == asset.file_url)
            assert written == traces


def test_no_page_shows_a_signed_url(
    client_of: ClientOf, senior: User, admin: User, make_request: Make
) -> None:
    request = put(make_request(), Status.FETCHING)
    image = RemoteImage.objects.create(
        request=request, position=0, url=SIGNED, expires_at=timezone.now()
    )

    for browser, address in (
        (client_of(senior), LIST),
        (client_of(senior), request.get_absolute_url()),
        (client_of(admin), "/admin/generation/generationrequest/"),
        (client_of(admin), f"/admin/generation/generationrequest/{request.pk}/change/"),
    ):
        page = browser.get(address)
        assert page.status_code == 200
        assert b"images.example" not in page.content
        assert b"Signature" not in page.content
    assert image.url == SIGNED


def test_user_text_is_escaped(client_of: ClientOf, senior: User, make_request: Make) -> None:
    evil = '"><script>document.title="XSS-RAN"</script>'
    fields = dict.fromkeys(("prompt", "negative_prompt", "model_name", "provider_task_id"), evil)
    request = put(make_request(**fields), Status.FAILED, error=evil)
    RequestTransition.objects.create(request=request, old="", new="failed", reason=f"once {evil}")
    browser = client_of(senior)

    for address in (
        f"{LIST}?q=%22%3E%3Cscript%3E",
        request.get_absolute_url(),
        f"{NEW}?from={request.uuid}",
    ):
        page = browser.get(address).content.decode()
        assert "<script>document" not in page
        assert "&lt;script&gt;" in page
