"""What somebody may, as it is read with them."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType

from config.auth.backend import Accounts
from tests.conftest import PASSWORD
from tests.moderation.page_helpers import ClientOf

pytestmark = pytest.mark.django_db


def asked(user: User) -> User:
    found = Accounts().get_user(user.pk)
    assert found is not None
    return found


def test_a_permission_counts_from_when_it_is_given_until_it_is_taken_away(moderator: User) -> None:
    assert asked(moderator).has_perm("moderation.decide_review")
    kind = ContentType.objects.get(app_label="moderation", model="review")
    late = Permission.objects.create(
        codename="look_twice", name="Can look twice", content_type=kind
    )
    assert not asked(moderator).has_perm("moderation.look_twice")

    moderator.user_permissions.add(late)
    assert asked(moderator).has_perm("moderation.look_twice")
    assert (
        asked(moderator).get_all_permissions()
        == User.objects.get(pk=moderator.pk).get_all_permissions()
    )

    late.delete()
    Group.objects.get(user=moderator).permissions.clear()
    assert not asked(moderator).has_perm("moderation.look_twice")
    assert not asked(moderator).has_perm("moderation.decide_review")


def test_a_permission_is_for_all_objects_or_for_none(moderator: User) -> None:
    """As with Django's own backend, which knows of no single ones."""
    assert not asked(moderator).has_perm("moderation.decide_review", moderator)


def test_who_may_everything_may_what_nobody_has_heard_of(admin_user: User) -> None:
    assert asked(admin_user).has_perm("moderation.anything")


def test_a_new_password_ends_every_session_but_the_one_it_was_set_in(
    client_of: ClientOf, lead: User
) -> None:
    here, elsewhere = client_of(lead), client_of(lead)
    for browser in (here, elsewhere):
        assert browser.get("/").status_code == 200

    chosen = {
        "old_password": PASSWORD,
        **dict.fromkeys(("new_password1", "new_password2"), "another horse battery"),
    }
    assert here.post("/admin/password_change/", chosen).status_code == 302

    assert here.get("/").status_code == 200
    assert elsewhere.get("/").status_code == 302
    lead.refresh_from_db()
    lead.set_password("and another horse battery")
    lead.save()
    assert here.get("/").status_code == 302
