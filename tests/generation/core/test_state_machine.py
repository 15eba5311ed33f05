from __future__ import annotations

from collections.abc import Callable

import pytest

from generation.models import GenerationRequest, InvalidTransitionError

pytestmark = pytest.mark.django_db
Status = GenerationRequest.Status


@pytest.mark.parametrize(
    ("wanted", "only_from"),
    [
        (Status.SUCCEEDED, Status.QUEUED),  # not a transition
        (Status.CANCELLED, "nonsense"),
        ("nonsense", ""),  # nothing leads there
    ],
)
def test_status_that_no_permitted_transition_reaches_is_refused(
    make_request: Callable[..., GenerationRequest], wanted: str, only_from: str
) -> None:
    request = make_request()

    with pytest.raises(InvalidTransitionError):
        request.move_to(wanted, only_from=only_from)

    request.refresh_from_db()
    assert request.status == Status.QUEUED
