"""Simulation of a Hasher-Matcher-Actioner server over real HTTP.

Its bank has every hash that begins with f. The API key selects the behaviour; docs/sandbox.md lists
them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse

from generation.sandbox import judging
from generation.sandbox.models import SandboxRefusal
from generation.wire import hma as wire

BANK, OTHER_BANK = "SANDBOX_BANK", "SANDBOX_OTHER"
KNOWN_DIGIT = "f"
_SIGNAL = re.compile(r"[0-9a-f]{64}")


@judging.serve_program
def look_up(request: HttpRequest) -> HttpResponse:
    """Handle GET /m/lookup."""
    behaviour = _read_behaviour(request)
    signal = request.GET.get("signal", "")
    if (refused := _refuse(request, behaviour)) is not None:
        return refused
    if not _SIGNAL.fullmatch(signal):
        return _error(400, "invalid signal type: PDQ hash must be 64 hexadecimal digits")
    if behaviour in BUSY and SandboxRefusal.objects.turns_away(f"{behaviour}{signal}"[:64]):
        return BUSY[behaviour]()
    time.sleep({"slow": judging.SLOW, "hang": judging.HANGING}.get(behaviour, 0.0))
    is_known = signal.startswith(KNOWN_DIGIT) or behaviour == "match"
    content = {"bank_content_id": int(signal[-4:], 16), "distance": "0"}
    if behaviour in ANSWERS:
        return ANSWERS[behaviour]()
    if behaviour == "names":
        return JsonResponse([BANK] if is_known else [], safe=False)
    bank = OTHER_BANK if behaviour == "other" else BANK
    body = {bank: [content]} if is_known else {}
    return judging.respond(body, behaviour, content_type="application/json")


@judging.serve_program
def show_status(request: HttpRequest) -> HttpResponse:
    """Handle GET /m/index/status."""
    behaviour = _read_behaviour(request)
    if (refused := _refuse(request, behaviour)) is not None:
        return refused
    is_built = behaviour != "unbuilt"
    status = {"built_to": 1_767_225_600, "present": is_built, "size": 16 if is_built else 0}
    return judging.respond({wire.PDQ: status}, behaviour, content_type="application/json")


def _read_behaviour(request: HttpRequest) -> str:
    key = re.sub(r"^Bearer\b\s*", "", request.headers.get("Authorization", "").strip())
    return "401" if key == "invalid" else judging.read_behaviour(key)


def _refuse(request: HttpRequest, behaviour: str) -> HttpResponse | None:
    if request.method != "GET":
        return _error(405, "The method is not allowed for the requested URL.")
    if behaviour in REFUSALS:
        return REFUSALS[behaviour]()
    kind = request.GET.get("signal_type", "")
    return None if kind == wire.PDQ else _error(400, f"No such SignalType '{kind}'")


def _error(status: int, message: str) -> HttpResponse:
    return JsonResponse({"message": message}, status=status)


REFUSALS: dict[str, Callable[[], HttpResponse]] = {
    "redirect": lambda: HttpResponseRedirect("https://hma.example/"),
    "401": lambda: _error(401, "The server could not verify that you are authorized."),
    "404": lambda: HttpResponse("<h1>Not Found</h1>", status=404),
    "disabled": lambda: _error(400, "SignalType 'pdq' is not enabled"),
    "500": lambda: _error(500, "The server encountered an internal error."),
    "502": lambda: HttpResponse(judging.WEB_PAGE, status=502),
    "503": lambda: _error(503, "index not yet ready"),
}
# Refused twice, accepted the third time.
BUSY: dict[str, Callable[[], HttpResponse]] = {"flaky": REFUSALS["503"]}
# Answers that are not those of a look-up.
ANSWERS: dict[str, Callable[[], HttpResponse]] = {
    "number": lambda: JsonResponse(7, safe=False),
    "ids": lambda: JsonResponse({"matches": [1, 2]}),
    "text": lambda: JsonResponse({BANK: "yes"}),
}
