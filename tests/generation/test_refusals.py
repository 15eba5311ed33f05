"""Every documented error of Novita, provoked over a socket, with its status and message."""

from __future__ import annotations

import pytest

from generation import tasks
from generation.models import GenerationRequest, ProviderState
from generation.sandbox.models import SandboxTask
from generation.sandbox.refusals import STATUSES
from tests.generation.pipeline_helpers import ask

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]
Status = GenerationRequest.Status
OUR_FAULT = {
    "BILLING_BALANCE_NOT_ENOUGH",
    "MISSING_API_KEY",
    "INVALID_API_KEY",
    "BILLING_AUTH_FAILED",
    "FEATURE_NOT_ALLOWED",
    "API_NOT_ALLOWED",
    "NEED_REAL_NAME_VERIFY",
    "API_NOT_FOUND",
}


@pytest.mark.parametrize("reason", STATUSES)
def test_refused_submission_sets_status_reason_and_message(reason: str) -> None:
    request = ask(prompt=f"a harbour sandbox:error-{reason.lower().replace('_', '-')}")

    tasks.submit()

    request.refresh_from_db()
    by_status = {429: Status.QUEUED, 500: Status.UNKNOWN}
    assert (request.status, request.reason) == (
        by_status.get(STATUSES[reason], Status.FAILED),
        reason,
    )
    assert request.error.startswith("Novita (sandbox) ")
    assert f"(HTTP {STATUSES[reason]} {reason})." in request.error
    assert ("Loupe's own settings or account" in request.error) == (reason in OUR_FAULT)
    assert (request.due_at is not None) == (request.status == Status.QUEUED)
    assert (request.cost is not None) == (request.status == Status.UNKNOWN)
    assert not SandboxTask.objects.exists()
    state = ProviderState.objects.get()
    noted = bool(state.last_error)
    assert noted == (reason in OUR_FAULT or STATUSES[reason] in by_status)
