"""Permissions as the authentication backend loads them with the user."""

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


def test_backend_applies_granted_and_revoked_permissions_at_once(moderator: User) -> None:
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


def test_backend_grants_no_permission_for_a_single_object(moderator: User) -> None:
    """Django's own backend has no permissions for single objects either."""
    assert not asked(moderator).has_perm("moderation.decide_review", moderator)


def test_superuser_has_unknown_permissions_too(admin_user: User) -> None:
    assert asked(admin_user).has_perm("moderation.anything")


def test_new_password_ends_every_session_except_the_current_one(
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
