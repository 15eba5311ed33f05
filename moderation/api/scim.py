"""SCIM 2.0 for directories such as Okta and Entra ID: people, created and closed (RFC 7644)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import wraps
from hmac import compare_digest
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt

from generation.wire.parsing import parse_integer
from moderation.api.auth import ApiError, read_json
from moderation.services import provisioning
from moderation.services.provisioning import Attributes, ProvisioningError

SCHEMAS = "urn:ietf:params:scim:schemas:core:2.0"
MESSAGES = "urn:ietf:params:scim:api:messages:2.0"
PAGE_MAX = 100
FILTER = re.compile(r'\s*userName\s+eq\s+"((?:[^"\\]|\\.)*)"\s*', re.IGNORECASE)
NAMES = {"givenname": "first_name", "familyname": "last_name"}


class ScimError(ValueError):
    """A refused call, with its status and, if the RFC has one, its type."""

    def __init__(self, status: int, detail: str, scim_type: str = "") -> None:
        super().__init__(detail)
        self.status, self.scim_type = status, scim_type


STATUSES: dict[type[ProvisioningError], tuple[int, str]] = {
    provisioning.InvalidValueError: (400, "invalidValue"),
    provisioning.TakenNameError: (409, "uniqueness"),
    provisioning.ProtectedError: (403, ""),
}


def _answer(body: dict[str, Any] | None, status: int = 200) -> HttpResponse:
    if body is None:
        return HttpResponse(status=status)
    return JsonResponse(body, status=status, content_type="application/scim+json")


def _refuse(status: int, detail: str, scim_type: str = "") -> HttpResponse:
    body = {"schemas": [f"{MESSAGES}:Error"], "status": str(status), "detail": detail}
    if scim_type:
        body["scimType"] = scim_type
    answer = _answer(body, status)
    if status == 401:
        answer["WWW-Authenticate"] = 'Bearer realm="Loupe"'
    return answer


def _is_authorized(request: HttpRequest) -> bool:
    kind, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    sent = token.strip().encode("utf-8", "replace")
    # All are compared, so that the time does not tell which one is close.
    matches = [compare_digest(sent, known.encode()) for known in settings.SCIM_TOKEN]
    return kind.lower() == "bearer" and any(matches)


def endpoint(*methods: str) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Return a decorator for a view: 404 without SCIM_TOKEN, else errors as the RFC wants them."""

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @login_not_required
        @csrf_exempt
        @wraps(view)
        def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not settings.SCIM_TOKEN:
                return _refuse(404, "SCIM is off.")
            if not _is_authorized(request):
                return _refuse(401, "Send the token in the Authorization header.")
            if request.method not in methods:
                return _refuse(405, f"This resource answers {', '.join(methods)}.")
            try:
                return view(request, *args, **kwargs)
            except ApiError as error:
                return _refuse(400, str(error), "invalidSyntax")
            except ScimError as error:
                return _refuse(error.status, str(error), error.scim_type)
            except ProvisioningError as error:
                status, scim_type = STATUSES[type(error)]
                return _refuse(status, str(error), scim_type)

        return wrapper

    return decorate


# --- Abilities of the server ---


@endpoint("GET")
def service_provider_config(request: HttpRequest) -> HttpResponse:
    off = {"supported": False}
    return _answer(
        {
            "schemas": [f"{SCHEMAS}:ServiceProviderConfig"],
            "patch": {"supported": True},
            "bulk": {**off, "maxOperations": 0, "maxPayloadSize": 0},
            "filter": {"supported": True, "maxResults": PAGE_MAX},
            "changePassword": off,
            "sort": off,
            "etag": off,
            "authenticationSchemes": [
                {"type": "oauthbearertoken", "name": "Bearer", "description": "SCIM_TOKEN"}
            ],
        }
    )


@endpoint("GET")
def resource_types(request: HttpRequest) -> HttpResponse:
    kind = {
        "schemas": [f"{SCHEMAS}:ResourceType"],
        "id": "User",
        "name": "User",
        "endpoint": "/Users",
        "schema": f"{SCHEMAS}:User",
    }
    return _answer(_list([kind], total=1, start=1))


# --- People ---


@endpoint("GET", "POST")
def user_list(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _answer(_show(provisioning.create(_read(_read_object(request)))), 201)
    people = User.objects.order_by("pk")
    if wanted := request.GET.get("filter", ""):
        match = FILTER.fullmatch(wanted[:400])
        if match is None:
            raise ScimError(400, 'Only the filter userName eq "…" is known.', "invalidFilter")
        people = people.filter(username__iexact=re.sub(r"\\(.)", r"\1", match[1]))
    start = parse_integer(request.GET.get("startIndex", "1")) or 1
    count = parse_integer(request.GET.get("count", str(PAGE_MAX)))
    size = PAGE_MAX if count is None else min(count, PAGE_MAX)
    found = people[start - 1 : start - 1 + size]
    return _answer(_list([_show(person) for person in found], total=people.count(), start=start))


@endpoint("GET", "PUT", "PATCH", "DELETE")
def user_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show or change one person. DELETE closes the account: the record keeps its name."""
    person = User.objects.filter(pk=pk).first()
    if person is None:
        raise ScimError(404, "There is no such person.")
    if request.method == "GET":
        return _answer(_show(person))
    if request.method == "DELETE":
        provisioning.change(person, Attributes(is_active=False))
        return _answer(None, 204)
    body = _read_object(request)
    if request.method == "PATCH":
        body = _merge(body.get("Operations") or body.get("operations"))
    return _answer(_show(provisioning.change(person, _read(body))))


def _list(rows: list[dict[str, Any]], *, total: int, start: int) -> dict[str, Any]:
    return {
        "schemas": [f"{MESSAGES}:ListResponse"],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": len(rows),
        "Resources": rows,
    }


def _show(person: User) -> dict[str, Any]:
    path = reverse("moderation:scim-user-detail", args=[person.pk])
    return {
        "schemas": [f"{SCHEMAS}:User"],
        "id": str(person.pk),
        "userName": person.username,
        "name": {"givenName": person.first_name, "familyName": person.last_name},
        "emails": [{"value": person.email, "primary": True}] if person.email else [],
        "active": person.is_active,
        "meta": {
            "resourceType": "User",
            "created": person.date_joined.isoformat(),
            "location": f"{settings.PUBLIC_URL}{path}",
        },
    }


def _read_object(request: HttpRequest) -> dict[str, Any]:
    body = read_json(request)
    if not isinstance(body, dict):
        raise ScimError(400, "The body is no JSON object.", "invalidSyntax")
    return body


def _merge(operations: Any) -> dict[str, Any]:
    """Return the attributes that the operations of a PATCH set. Others are not Loupe's.

    Okta sends an object without a path, Entra ID a path for each attribute.
    """
    if not isinstance(operations, list):
        raise ScimError(400, "Operations is no list.", "invalidSyntax")
    found: dict[str, Any] = {}
    for operation in operations:
        if not isinstance(operation, dict):
            raise ScimError(400, "An operation is no object.", "invalidSyntax")
        verb = str(operation.get("op", "")).lower()
        if verb not in {"add", "replace", "remove"}:
            raise ScimError(400, f"The operation {verb[:20]!r} is unknown.", "invalidSyntax")
        value = "" if verb == "remove" else operation.get("value")
        path = operation.get("path")
        if path is None:
            if not isinstance(value, dict):
                raise ScimError(400, "An operation without a path needs an object.", "noTarget")
            found |= value
        else:
            found[str(path)] = value
    return found


def _read(body: dict[str, Any]) -> Attributes:
    """Read the attributes that Loupe has, from a resource or from paths such as name.givenName."""
    found: dict[str, Any] = {}
    for name, value in _flatten(body):
        key = name.lower()
        if key == "username":
            found["username"] = _text(value, name)
        elif key == "active":
            found["is_active"] = _boolean(value)
        elif key in NAMES:
            found[NAMES[key]] = _text(value, name)
        elif key == "emails" or key.startswith("emails["):
            found["email"] = _mail(value)
    return Attributes(**found)


def _flatten(body: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in body.items():
        if name.lower() == "name" and isinstance(value, dict):
            yield from value.items()
        else:
            yield name.removeprefix(f"{SCHEMAS}:User:").removeprefix("name."), value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ScimError(400, f"{name[:40]} is no text.", "invalidValue")
    return value.strip()


def _boolean(value: Any) -> bool:
    """Read a boolean; Entra ID sends it as text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise ScimError(400, "active is neither true nor false.", "invalidValue")


def _mail(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    rows.sort(key=lambda row: row.get("primary") is not True)
    return _text(rows[0].get("value", ""), "emails") if rows else ""
