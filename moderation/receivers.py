"""Receivers: stored (in the storing transaction) and shown images, migrations, changed access."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User

from generation.models import Asset
from moderation.models import AccessTrace, ChainHead
from moderation.services import access_events, classification, sealing, starting_policies, traces

# Fields of an account that decide what its person may do.
ACCESS_FIELDS = {"is_active", "is_superuser", "is_staff"}


def open_review(*, asset: Asset, **kwargs: Any) -> None:
    classification.open_review(asset=asset)


def note_view(*, asset: Asset, user: User, kind: str, **kwargs: Any) -> None:
    traces.note_view(person=user, asset=asset, kind=AccessTrace.Kind(kind))


def apply_starting_policy(*, plan: Any = (), **kwargs: Any) -> None:
    """Put the starting policy for the configured classifiers into force, in a new database only.

    New: this run of ``migrate`` created the first policy. The sandbox has the demo's policy.
    """
    created = ("moderation", "0003_roles_and_first_policy")
    is_new = any(
        (migration.app_label, migration.name) == created and not backwards
        for migration, backwards in plan
    )
    chosen = starting_policies.suggest() if is_new and not settings.SANDBOX else None
    if chosen is not None:
        starting_policies.put_into_force(chosen, user=None)


def seal_new_record(*, apps: Any = None, **kwargs: Any) -> None:
    """Seal the record of a new database, and note the permissions of roles after each migration."""
    if not _has_events(apps) or not ChainHead.objects.filter(pk=1).exists():
        return
    sealing.seal_new_record()
    access_events.record_roles()


def _has_events(apps: Any) -> bool:
    """Return whether the database is that of this version: a migration may have gone back."""
    return apps is None or "recordevent" in apps.all_models["moderation"]


def record_account(
    *, instance: User, update_fields: Any = None, raw: bool = False, **kwargs: Any
) -> None:
    """Record the access of a saved or deleted account."""
    if not raw and (update_fields is None or ACCESS_FIELDS & set(update_fields)):
        access_events.record_access(instance.pk)


def record_groups(
    *, instance: Any, action: str, reverse: bool, pk_set: set[int] | None, **kwargs: Any
) -> None:
    """Record the access of the people whose roles or own permissions were changed."""
    if not action.startswith("post_"):
        return
    if not reverse:
        access_events.record_access(instance.pk)
        return
    # All: a cleared relation no longer names the people.
    people = User.objects.values_list("pk", flat=True) if pk_set is None else pk_set
    for person in list(people):
        access_events.record_access(person)


def record_permissions(*, action: str, **kwargs: Any) -> None:
    if action.startswith("post_"):
        access_events.record_roles()


def record_saved_group(*, raw: bool = False, **kwargs: Any) -> None:
    if not raw:
        access_events.record_roles()
        access_events.record_everyone()  # the group may have another name


def record_deleted_group(*, instance: Group, **kwargs: Any) -> None:
    """Record a group that is gone, and the access of its people."""
    access_events.record_roles()
    access_events.record_everyone()
