"""Right-to-left text of people, programs and sources is isolated on every page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from moderation.models import Review, SavedQueue, Verdict
from moderation.services import decisions
from tests.moderation.page_helpers import ClientOf, MakeReview

RTL = re.compile("[\u0590-\u07ff]")
PROMPT, NOTE, NAME = "נמל שקט עם שחר", "האם זה צעצוע?", "משה"
VOID_TAGS = {"input", "img", "meta", "link", "hr", "br", "rect", "image", "source"}
# A title cannot contain elements, and browsers choose the direction of options themselves.
IGNORED_TAGS = {"title", "option"}


class IsolationParser(HTMLParser):
    """A parser that collects right-to-left texts outside of isolating elements."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.found = 0
        self.bare: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        isolates = tag == "bdi" or given.get("dir") == "auto" or tag in IGNORED_TAGS
        is_typed = tag == "input" and given.get("type", "text") in ("text", "search")
        if is_typed and RTL.search(given.get("value") or "") and not isolates:
            self.bare.append(f"input {given.get('name')}")
        if tag not in VOID_TAGS:
            self.open.append((tag, isolates))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not RTL.search(data):
            return
        self.found += 1
        if not any(isolates for _, isolates in self.open):
            self.bare.append(f"{' '.join(tag for tag, _ in self.open[-3:])}: {data.strip()}")


@pytest.fixture
def rtl_content(
    make_review: MakeReview, make_request: Any, senior: User, settings: Any
) -> dict[str, Any]:
    """Create a person, request, notes, import and saved queue with right-to-left texts."""
    settings.SECOND_OPINION_PERCENT = 0
    person = User.objects.create_user(NAME, password="x")
    person.groups.set(Group.objects.filter(name="moderator"))
    requester = User.objects.create_user("שרה")
    request = make_request(
        prompt=PROMPT, negative_prompt=NOTE, model_name=PROMPT, requested_by=requester, image_num=2
    )
    reviews = [
        make_review(source="txt2img", request=request, position=position) for position in (0, 1)
    ]
    reviews.append(make_review(original_name=f"{PROMPT}.png"))
    for review, verdict in zip(
        reviews, (Verdict.APPROVE, Verdict.ESCALATE, Verdict.APPROVE), strict=True
    ):
        decisions.claim(review=review, user=person)
        decisions.decide(review=review, user=person, verdict=verdict, note=NOTE)
    held = make_review(
        source="txt2img", request=make_request(prompt=PROMPT, model_name=PROMPT), position=0
    )
    assert held.claim_for(senior)
    SavedQueue.objects.create(
        owner=person, name=NAME, base="waiting", query="order=oldest", is_shared=True
    )
    return {"person": person, "request": request, "reviews": reviews, "held": held}


def test_pages_isolate_right_to_left_text(
    client_of: ClientOf, rtl_content: dict[str, Any], senior: User
) -> None:
    first, escalated, imported = (f"/reviews/{review.uuid}/" for review in rtl_content["reviews"])
    pages = {
        "/",
        "/queues/",
        "/queues/waiting/",
        "/queues/escalated/",
        "/queues/waiting/?order=oldest",
        "/decisions/",
        "/history/",
        "/search/",
        f"/search/?q={PROMPT}",
        f"/decisions/?reviewer={NAME}",
        "/requests/",
        f"/requests/?q={PROMPT}",
        f"/requests/{rtl_content['request'].uuid}/",
        first,
        escalated,
        imported,
        f"/requests/new/?from={rtl_content['request'].uuid}",
        f"/reviews/{rtl_content['held'].uuid}/",
        f"/reviews/{rtl_content['held'].uuid}/?queue=waiting",
        "/preferences/",
        "/quality/",
        "/queues/waiting/sheet/",
    }
    found, bare = 0, []
    for user in (rtl_content["person"], senior):
        client = client_of(user)
        for page in sorted(pages):
            answer = client.get(page)
            if answer.status_code in (403, 404) and user != senior:
                continue
            assert answer.status_code == 200, page
            reader = IsolationParser()
            reader.feed(answer.content.decode())
            found += reader.found
            bare += [f"{page}: {text}" for text in reader.bare]

    assert found > 60
    assert bare == []
    assert Review.objects.count() == 4
