"""Management of accounts: people cannot grant permissions that they do not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from tests.conftest import PASSWORD

ClientOf = Callable[[User], Client]
NEW = "staple battery horse correct"
PASSWORDS = {"password1": NEW, "password2": NEW, "usable_password": "true"}


@pytest.fixture
def manager(db: None) -> User:
    """Create a user manager with all permissions on accounts and groups, and no others."""
    user = User.objects.create_user("manager", password=PASSWORD, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="auth"))
    return user


def admin_url(name: str, *args: Any, model: str = "user") -> str:
    return reverse(f"admin:auth_{model}_{name}", args=args)


def password_url(user: User) -> str:
    return reverse("admin:auth_user_password_change", args=[user.pk])


def make_form_data(user: User, **changes: Any) -> dict[str, Any]:
    """Return the data that the change form of an account sends."""
    joined = user.date_joined
    return {
        "username": user.username,
        "is_active": "on",
        "date_joined_0": f"{joined:%Y-%m-%d}",
        "date_joined_1": f"{joined:%H:%M:%S}",
        **changes,
    }


def bulk_delete(browser: Client, user: User) -> Any:
    data = {"action": "delete_selected", "_selected_action": [user.pk], "post": "yes"}
    return browser.post(admin_url("changelist"), data)


def test_user_manager_cannot_change_a_superuser(
    client_of: ClientOf, manager: User, admin: User
) -> None:
    browser, before = client_of(manager), User.objects.filter(pk=admin.pk).values().get()

    seen = browser.get(admin_url("change", admin.pk))
    assert seen.status_code == 200
    assert "../password/" not in seen.content.decode()
    assert b'name="_save"' not in seen.content
    assert browser.get(admin_url("history", admin.pk)).status_code == 200
    assert (
        browser.post(
            admin_url("change", admin.pk), make_form_data(admin, is_active="", username="x")
        ).status_code
        == 403
    )
    assert browser.get(password_url(admin)).status_code == 403
    assert browser.post(password_url(admin), PASSWORDS).status_code == 403
    assert browser.post(admin_url("delete", admin.pk), {"post": "yes"}).status_code == 403
    assert bulk_delete(browser, admin).status_code == 403
    assert User.objects.filter(pk=admin.pk).values().get() == before


def test_superuser_can_change_and_delete_another_superuser(
    client_of: ClientOf, admin: User
) -> None:
    other = User.objects.create_superuser("other-admin", password=PASSWORD)
    browser = client_of(admin)

    assert browser.post(password_url(other), PASSWORDS).status_code == 302
    other.refresh_from_db()
    assert other.check_password(NEW)
    assert (
        browser.post(admin_url("change", other.pk), make_form_data(other, is_active="")).status_code
        == 302
    )
    other.refresh_from_db()
    assert not other.is_active
    assert bulk_delete(browser, other).status_code == 302
    assert not User.objects.filter(pk=other.pk).exists()
    assert LogEntry.objects.filter(object_id=str(other.pk)).count() == 3


def test_user_manager_cannot_grant_roles_or_permissions(client_of: ClientOf, manager: User) -> None:
    browser = client_of(manager)
    assert browser.post(admin_url("add"), {"username": "newcomer", **PASSWORDS}).status_code == 302
    newcomer = User.objects.get(username="newcomer")

    group, permission = (
        Group.objects.get(name="moderator"),
        Permission.objects.get(codename="decide_review"),
    )
    rights = {
        "is_staff": "on",
        "is_superuser": "on",
        "groups": [group.pk],
        "user_permissions": [permission.pk],
    }
    for account in (newcomer, manager):
        answer = browser.post(
            admin_url("change", account.pk), make_form_data(account, first_name="Ada", **rights)
        )
        assert answer.status_code == 302
        account.refresh_from_db()
        assert account.first_name == "Ada"
        assert (account.is_superuser, account.groups.count()) == (False, 0)
        assert not account.has_perm("moderation.decide_review")
    assert not newcomer.is_staff
    assert (
        browser.post(
            admin_url("change", newcomer.pk), make_form_data(newcomer, is_active="")
        ).status_code
        == 302
    )
    newcomer.refresh_from_db()
    assert not newcomer.is_active


def test_password_change_needs_all_permissions_of_the_account(
    client_of: ClientOf, manager: User, moderator: User, senior: User
) -> None:
    browser = client_of(manager)
    assert browser.post(password_url(moderator), PASSWORDS).status_code == 403
    assert "../password/" not in browser.get(admin_url("change", moderator.pk)).content.decode()
    assert moderator.check_password(PASSWORD)

    manager.groups.set(Group.objects.filter(name="moderator"))
    assert "../password/" in browser.get(admin_url("change", moderator.pk)).content.decode()
    assert browser.post(password_url(moderator), PASSWORDS).status_code == 302
    moderator.refresh_from_db()
    assert moderator.check_password(NEW)
    assert browser.post(password_url(senior), PASSWORDS).status_code == 403

    moderator.is_staff = True
    moderator.save()
    assert browser.post(password_url(moderator), PASSWORDS).status_code == 302
    User.objects.filter(pk=manager.pk).update(is_staff=False)
    manager.user_permissions.add(Permission.objects.get(codename="use_admin_site"))
    assert client_of(manager).post(password_url(moderator), PASSWORDS).status_code == 403


def test_only_superusers_change_groups(client_of: ClientOf, manager: User, admin: User) -> None:
    group = Group.objects.get(name="moderator")
    every = list(Permission.objects.values_list("pk", flat=True))
    data, before = (
        {"name": "moderator", "permissions": every},
        set(group.permissions.values_list("pk", flat=True)),
    )
    browser = client_of(manager)

    assert browser.get(admin_url("change", group.pk, model="group")).status_code == 200  # read-only
    assert browser.post(admin_url("change", group.pk, model="group"), data).status_code == 403
    assert (
        browser.post(admin_url("add", model="group"), {**data, "name": "mine"}).status_code == 403
    )
    assert (
        browser.post(admin_url("delete", group.pk, model="group"), {"post": "yes"}).status_code
        == 403
    )
    assert not Group.objects.filter(name="mine").exists()
    assert set(group.permissions.values_list("pk", flat=True)) == before

    assert (
        client_of(admin).post(admin_url("change", group.pk, model="group"), data).status_code == 302
    )
    assert group.permissions.count() == len(every)


# --- The admin site without staff status ---


def test_policy_lead_opens_admin_site_without_staff_status(client_of: ClientOf, lead: User) -> None:
    assert not lead.is_staff
    browser = client_of(lead)
    home = browser.get("/").content.decode()
    versions = reverse("admin:moderation_policy_changelist")
    assert f'href="{reverse("moderation:policy-list")}"' in home
    assert f'href="{reverse("admin:index")}"' in home

    assert browser.get(versions).status_code == 200
    assert browser.get(reverse("admin:auth_user_changelist")).status_code == 403
    assert browser.get(reverse("admin:index")).status_code == 200
    assert browser.get(reverse("admin:login")).headers["Location"] == reverse("admin:index")


def test_auditor_reads_record_in_admin_site(client_of: ClientOf, auditor: User) -> None:
    browser = client_of(auditor)
    assert browser.get(reverse("admin:moderation_decision_changelist")).status_code == 200
    assert browser.get(reverse("admin:moderation_policy_add")).status_code == 403


def test_admin_site_returns_403_to_moderators(
    client_of: ClientOf, moderator: User, senior: User
) -> None:
    for user in (moderator, senior):
        browser = client_of(user)
        assert f'href="{reverse("admin:index")}"' not in browser.get("/").content.decode()
        answer = browser.get(reverse("admin:moderation_decision_changelist"), follow=True)
        assert answer.status_code == 403
        assert "403.html" in [template.name for template in answer.templates]


def test_admin_login_redirects_to_login_page(client: Client, admin: User) -> None:
    answer = client.get(reverse("admin:login") + "?next=/admin/auth/")
    assert answer.headers["Location"] == "/login/?next=/admin/auth/"
    assert (
        client.post(reverse("admin:login"), {"username": "admin", "password": PASSWORD}).status_code
        == 302
    )
    assert client.get(reverse("admin:index")).status_code == 302
