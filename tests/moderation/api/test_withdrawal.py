"""Events and files of a program after an image is withdrawn because of a rejected look-alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from moderation import tasks
from moderation.models import Review, Verdict
from tests.moderation.api.calls import LocalServer
from tests.moderation.api.webhook_orders import (
    WHISKY,
    decide,
    list_received_events,
    submit_and_run,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("novita_sandbox")]


def test_withdrawn_look_alike_is_no_longer_served_and_the_program_is_told(
    key: str,
    hook: LocalServer,
    moderator: User,
    senior: User,
    client_of: Callable[[User], Client],
) -> None:
    submit_and_run(key, hook, prompt=WHISKY)
    (approval,) = decide(moderator, Verdict.APPROVE)
    tasks.deliver()
    address = hook.posts[0].event["payload"]["images"][0]["image_url"]
    path = "/" + address.split("/", 3)[3]
    served = Client().get(path)
    assert served.status_code == 200
    served.close()
    submit_and_run(key, hook, prompt=WHISKY)
    (rejection,) = decide(moderator, Verdict.REJECT)
    tasks.deliver()
    known = len(hook.posts)

    answer = client_of(senior).post(
        reverse("moderation:look-alike-withdraw", args=[rejection.review.uuid]),
        {"review": approval.review.uuid},
    )

    assert answer.status_code == 303
    assert Review.objects.get(pk=approval.review_id).status == Review.Status.REJECTED
    assert Client().get(path).status_code == 403
    tasks.deliver()
    tasks.deliver()
    # The event "withdrawn" was queued too, but was out of date before it could be sent.
    assert list_received_events(hook)[known:] == [("finished", 2, "TASK_STATUS_FAILED", 0)]
