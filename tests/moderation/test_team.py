"""The team over HTTP: invitations, roles, deactivation, sessions, links for new passwords."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.core import mail
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from config.middleware import ActivityMiddleware
from generation.models import ApiKey
from moderation import roles
from moderation.models import BrowserSession, Invitation, LastActivity, Review, TeamEvent
from moderation.presenters.team import ABILITIES, build_roles, describe_device
from moderation.services import decisions
from tests.conftest import PASSWORD

ClientOf = Callable[[User], Client]
NEW = "staple battery horse correct"


def team_url(name: str, *args: Any) -> str:
    return reverse(f"moderation:{name}", args=args)


def read_link(response: Any) -> str:
    """Return the path of the link that a page shows once."""
    found = re.search(
        r"one-time-link[^>]*>http://[^/]+(/invitations/[^<]+)<", response.content.decode()
    )
    assert found is not None
    return found.group(1)


def invite(operator_client: Client, *names: str, email: str = "") -> str:
    data = {"roles": names, "email": email}
    return read_link(operator_client.post(team_url("invitation-list"), data))


def join(link: str, name: str = "newcomer", password: str = NEW) -> tuple[Client, Any]:
    browser = Client()
    data = {"username": name, "password1": password, "password2": password}
    return browser, browser.post(link, data)


def list_kinds() -> list[str]:
    return list(TeamEvent.objects.order_by("pk").values_list("kind", flat=True))


# --- Invitations ---


def test_invited_person_gets_exactly_the_chosen_roles(client_of: ClientOf, operator: User) -> None:
    link = invite(client_of(operator), "moderator", "auditor")
    assert not User.objects.filter(username="newcomer").exists()
    assert Client().get(link).status_code == 200

    browser, answer = join(link)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    person = User.objects.get(username="newcomer")
    assert set(person.groups.values_list("name", flat=True)) == {"moderator", "auditor"}
    assert (person.is_staff, person.is_superuser) == (False, False)
    assert browser.get("/queues/waiting/").status_code == 200
    assert list_kinds() == ["invited", "joined"]
    assert "invited by operator" in TeamEvent.objects.get(kind="joined").details


def test_link_works_once(client_of: ClientOf, operator: User) -> None:
    link = invite(client_of(operator), "moderator")
    join(link)
    assert Client().get(link).status_code == 410
    assert join(link, "second")[1].status_code == 410
    assert not User.objects.filter(username="second").exists()


def test_token_is_not_stored(client_of: ClientOf, operator: User) -> None:
    link = invite(client_of(operator), "moderator")
    token = link.split("/")[2]
    assert token not in str(Invitation.objects.values().get())


def test_expired_revoked_and_orphaned_links_return_410(
    client_of: ClientOf, operator: User, admin: User
) -> None:
    browser = client_of(operator)
    expired, revoked, orphaned = (invite(browser, "moderator") for _ in range(3))
    first, second, _ = Invitation.objects.order_by("pk")
    Invitation.objects.filter(pk=first.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    browser.post(team_url("invitation-revoke", second.uuid))
    User.objects.create_user("deputy").groups.add(Group.objects.get(name="operator"))
    client_of(admin).post(team_url("person-deactivate", operator.pk))

    for link in (expired, revoked, orphaned):
        assert join(link)[1].status_code == 410
    assert Invitation.objects.filter(created_by=operator).count() == 3
    assert not User.objects.filter(username="newcomer").exists()


def test_weak_password_and_taken_name_are_refused_and_keep_the_link(
    client_of: ClientOf, operator: User
) -> None:
    link = invite(client_of(operator), "moderator")
    assert join(link, password="12345678")[1].status_code == 422
    assert join(link, "operator")[1].status_code == 422
    assert join(link)[1].status_code == 303


def test_person_who_is_logged_in_cannot_use_a_link(
    client_of: ClientOf, operator: User, moderator: User
) -> None:
    link = invite(client_of(operator), "policy lead")
    assert client_of(moderator).post(link, {"username": "x"}).status_code == 409
    assert Client().get(link).status_code == 200


def test_mail_server_gets_the_link_and_the_page_does_not_show_it(
    client_of: ClientOf, operator: User, settings: Any
) -> None:
    settings.EMAIL_HOST = "mail.example"
    data = {"roles": ["moderator"], "email": "ada@house.example"}
    page = client_of(operator).post(team_url("invitation-list"), data)

    assert "/invitations/" not in re.sub(r"/team/invitations/", "", page.content.decode())
    (sent,) = mail.outbox
    assert sent.to == ["ada@house.example"]
    link = re.search(r"/invitations/\S+", sent.body)
    assert link is not None
    join(link.group())
    assert User.objects.get(username="newcomer").email == "ada@house.example"


def test_link_is_shown_if_the_mail_server_fails(
    client_of: ClientOf, operator: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ConnectionRefusedError

    settings.EMAIL_HOST = "mail.example"
    monkeypatch.setattr("moderation.services.team_mail.send_mail", refuse)
    link = invite(client_of(operator), "moderator", email="ada@house.example")
    assert Client().get(link).status_code == 200


# --- Roles and rights ---


def change_roles(browser: Client, person: User, *names: str) -> int:
    return browser.post(team_url("person-role-change", person.pk), {"roles": names}).status_code


def test_operator_gives_several_roles_and_the_change_is_recorded(
    client_of: ClientOf, operator: User, moderator: User
) -> None:
    other = Group.objects.create(name="night shift")
    moderator.groups.add(other)

    assert change_roles(client_of(operator), moderator, "senior moderator", "integrator") == 303

    names = set(moderator.groups.values_list("name", flat=True))
    assert names == {"senior moderator", "integrator", "night shift"}
    event = TeamEvent.objects.get()
    assert (event.actor, event.person) == (operator, moderator)
    assert event.details == "from moderator to senior moderator, integrator"


@pytest.mark.parametrize(
    "url",
    ["person-role-change", "person-deactivate", "person-password", "person-session-end"],
)
def test_operator_cannot_change_self_superusers_staff_or_accounts_with_more_rights(
    client_of: ClientOf, operator: User, admin: User, url: str
) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    strong = User.objects.create_user("strong")
    strong.user_permissions.add(Permission.objects.get(codename="change_user"))
    browser = client_of(operator)
    for person in (operator, admin, staff, strong):
        data = {"roles": ["policy lead"]}
        assert browser.post(team_url(url, person.pk), data).status_code == 409
        person.refresh_from_db()
        assert person.is_active
        assert not person.groups.filter(name="policy lead").exists()
    assert not Invitation.objects.exists()
    assert browser.session.session_key
    assert not TeamEvent.objects.exists()


def test_keys_of_a_person_without_the_role_are_named_and_revoked_together(
    client_of: ClientOf, operator: User, integrator: User, moderator: User
) -> None:
    ApiKey.make(name="shop", owner=integrator)
    ApiKey.make(name="studio", owner=integrator)
    browser, page = client_of(operator), team_url("person-detail", integrator.pk)
    assert "may no longer hold keys" not in browser.get(page).text

    saved = browser.post(team_url("person-role-change", integrator.pk), follow=True)

    assert "2 API keys still work: see below." in saved.text
    assert "may no longer hold keys, but 2 still work" in saved.text
    assert ApiKey.objects.usable().count() == 2

    address = team_url("person-keys-revoke", integrator.pk)
    assert client_of(moderator).post(address).status_code == 403
    revoked = browser.post(address, follow=True)

    assert "2 API keys of integrator revoked." in revoked.text
    assert "may no longer hold keys" not in revoked.text
    assert not ApiKey.objects.usable().exists()
    assert list_kinds() == ["roles", "key", "key"]


def test_roles_outside_the_list_are_refused(
    client_of: ClientOf, operator: User, moderator: User
) -> None:
    Group.objects.create(name="root")
    browser = client_of(operator)
    assert change_roles(browser, moderator, "root") == 422
    data = {"roles": ["root"]}
    assert browser.post(team_url("invitation-list"), data).status_code == 422
    assert not Invitation.objects.exists()
    assert list(moderator.groups.values_list("name", flat=True)) == ["moderator"]


def test_invitation_ends_when_its_sender_loses_the_role(
    client_of: ClientOf, operator: User
) -> None:
    link = invite(client_of(operator), "moderator")
    operator.groups.clear()
    assert Client().get(link).status_code == 410


def test_last_operator_stays(client_of: ClientOf, operator: User, admin: User) -> None:
    browser = client_of(admin)
    assert change_roles(browser, operator, "moderator") == 409
    assert browser.post(team_url("person-deactivate", operator.pk)).status_code == 409
    operator.refresh_from_db()
    assert operator.is_active
    assert operator.has_perm("moderation.manage_team")

    User.objects.create_user("second").groups.add(Group.objects.get(name="operator"))
    assert change_roles(browser, operator, "moderator") == 303


def test_team_events_cannot_be_changed(client_of: ClientOf, operator: User) -> None:
    invite(client_of(operator), "moderator")
    for change in (
        lambda: TeamEvent.objects.update(details="nothing happened"),
        lambda: TeamEvent.objects.all()._raw_delete("default"),
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    assert TeamEvent.objects.count() == 1


# --- Deactivation, passwords, sessions ---


def test_deactivation_ends_sessions_and_releases_claims(
    client_of: ClientOf, operator: User, moderator: User, make_review: Callable[..., Review]
) -> None:
    review = make_review()
    decisions.claim(review=review, user=moderator)
    browser = client_of(moderator)

    answer = client_of(operator).post(team_url("person-deactivate", moderator.pk))

    assert answer.status_code == 303
    assert browser.get("/").status_code == 302
    review.refresh_from_db()
    assert review.claimed_by is None
    client_of(operator).post(team_url("person-reactivate", moderator.pk))
    assert browser.get("/").status_code == 302, "the old session does not come back"
    login = Client().post("/login/", {"username": "moderator", "password": PASSWORD})
    assert login.status_code == 302
    assert list_kinds() == ["deactivated", "reactivated"]


def test_sessions_from_before_the_list_end_too(
    client_of: ClientOf, operator: User, moderator: User
) -> None:
    browser = client_of(moderator)
    BrowserSession.objects.all().delete()
    client_of(operator).post(team_url("person-session-end", moderator.pk))
    assert browser.get("/").status_code == 302


def test_link_sets_a_new_password_once_and_ends_sessions(
    client_of: ClientOf, operator: User, moderator: User
) -> None:
    browser = client_of(moderator)
    manager = client_of(operator)
    replaced = read_link(manager.post(team_url("person-password", moderator.pk)))
    link = read_link(manager.post(team_url("person-password", moderator.pk)))
    data = {"new_password1": NEW, "new_password2": NEW}

    assert Client().post(replaced, data).status_code == 410
    assert Client().post(link, data).status_code == 200
    assert Client().post(link, data).status_code == 410

    moderator.refresh_from_db()
    assert moderator.check_password(NEW)
    assert browser.get("/").status_code == 302
    assert list_kinds() == ["reset", "reset", "password"]


def test_password_link_of_a_person_who_became_superuser_is_dead(
    client_of: ClientOf, operator: User, moderator: User
) -> None:
    link = read_link(client_of(operator).post(team_url("person-password", moderator.pk)))
    User.objects.filter(pk=moderator.pk).update(is_superuser=True)
    assert Client().get(link).status_code == 410


def test_own_sessions_are_listed_and_end(client_of: ClientOf, moderator: User) -> None:
    here, there = (
        Client(headers={"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}),
        client_of(moderator),
    )
    here.post("/login/", {"username": "moderator", "password": PASSWORD})

    page = here.get(team_url("session-list")).content.decode()

    assert "Firefox on Linux" in page
    assert page.count("This session") == 1
    other = BrowserSession.objects.get(session_id=there.session.session_key)
    assert here.post(team_url("session-end", other.uuid)).status_code == 303
    assert there.get("/").status_code == 302
    assert here.get("/").status_code == 200


def test_all_other_sessions_end_and_this_one_stays(client_of: ClientOf, moderator: User) -> None:
    here, *others = [client_of(moderator) for _ in range(3)]
    assert here.post(team_url("session-rest-end")).status_code == 303
    assert [browser.get("/").status_code for browser in (here, *others)] == [200, 302, 302]


def test_nobody_ends_the_session_of_another(
    client_of: ClientOf, moderator: User, senior: User
) -> None:
    browser = client_of(moderator)
    session = BrowserSession.objects.get(user=moderator)
    assert client_of(senior).post(team_url("session-end", session.uuid)).status_code == 404
    assert browser.get("/").status_code == 200


def test_logging_out_removes_the_session_from_the_list(
    client_of: ClientOf, moderator: User
) -> None:
    browser = client_of(moderator)
    assert BrowserSession.objects.count() == 1
    browser.post("/logout/")
    assert not BrowserSession.objects.exists()


def test_activity_is_written_once_in_five_minutes(client_of: ClientOf, moderator: User) -> None:
    browser = client_of(moderator)
    before = LastActivity.objects.get(user=moderator).seen_at
    browser.get("/sessions/")
    assert LastActivity.objects.get(user=moderator).seen_at == before

    ActivityMiddleware.noted.clear()
    browser.get("/sessions/")
    assert LastActivity.objects.get(user=moderator).seen_at > before


def test_changed_password_ends_other_sessions_in_the_list(
    client_of: ClientOf, moderator: User
) -> None:
    here, there = client_of(moderator), client_of(moderator)
    data = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
    here.post("/password/", data)
    assert not Session.objects.filter(pk=there.session.session_key).exists()
    assert here.get("/").status_code == 200


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0 Safari/537.36 Edg/140",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18 Safari/604.1",
            "Safari on iOS",
        ),
        ("", "Unknown browser"),
    ],
)
def test_device_is_named_by_browser_and_system(user_agent: str, device: str) -> None:
    assert describe_device(user_agent) == device


# --- The pages ---


def test_moderators_see_names_and_roles_only(
    client_of: ClientOf, moderator: User, senior: User, operator: User
) -> None:
    User.objects.create_user("gone", is_active=False).groups.add(
        Group.objects.get(name="moderator")
    )
    User.objects.filter(pk=senior.pk).update(email="senior@house.example")

    page = client_of(moderator).get(team_url("person-list")).content.decode()
    assert "Senior moderator" in page
    for hidden in ("Last activity", "Open sessions", "senior@house.example", "gone", "/team/1"):
        assert hidden not in page
    # Searching by address would tell who has it.
    found = client_of(moderator).get(team_url("person-list") + "?q=senior@house.example")
    assert "No person found" in found.content.decode()

    page = client_of(operator).get(team_url("person-list")).content.decode()
    for shown in ("Last activity", "Open sessions", "senior@house.example", "gone"):
        assert shown in page


def test_people_are_paged_by_name_with_few_queries(client_of: ClientOf, operator: User) -> None:
    people = [User(username=f"p{number:03}") for number in range(120)]
    User.objects.bulk_create(people)
    browser, seen, address = client_of(operator), [], team_url("person-list")
    while True:
        with CaptureQueriesContext(connection) as queries:
            page = browser.get(address).content.decode()
        assert len(queries) <= 10
        seen += re.findall(r"<bdi>(p\d{3})</bdi>", page)
        more = re.search(r'href="(\?[^"]*)" rel="next"', page)
        if more is None:
            break
        address = team_url("person-list") + more.group(1).replace("&amp;", "&")
    assert seen == [person.username for person in people]


def test_every_sentence_of_a_card_is_true_of_a_person_with_that_role(db: None) -> None:
    cards = {card.name: card for card in build_roles()}
    assert set(cards) == set(roles.ROLES)
    for name, card in cards.items():
        person = User.objects.create_user(f"a {name}")
        person.groups.add(Group.objects.get(name=name))
        held = [ability for ability in ABILITIES if person.has_perms(ability.permissions)]
        assert card.may == [ability.text for ability in held] != []
        assert not set(card.may) & set(card.may_not)
    assert all(any(ability.text in card.may for card in cards.values()) for ability in ABILITIES)


def test_cards_say_what_the_groups_hold_now(client_of: ClientOf, operator: User) -> None:
    def read_card(role: str) -> str:
        page = client_of(operator).get(team_url("role-list")).content.decode()
        found = re.search(
            rf'data-role="{role}".*?</li>\s*(?=<li class="role-card"|</ul>\s*</main|$)', page, re.S
        )
        assert found is not None
        return found.group()

    may, may_not = read_card("moderator").split("May not")
    assert "decide images in the queues" in may
    assert "write policies and put them into force" in may_not

    group = Group.objects.get(name="moderator")
    group.permissions.remove(Permission.objects.get(codename="decide_review"))
    may, may_not = read_card("moderator").split("May not")
    assert "decide images in the queues" not in may
    assert "decide images in the queues" in may_not
