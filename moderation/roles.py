"""Roles as groups. Migrations create the groups from this table."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

LOOK = (
    "generation.view_asset",
    "generation.view_generationrequest",
    "moderation.view_askrule",
    "moderation.view_classification",
    "moderation.view_decision",
    "moderation.view_earnedtrust",
    "moderation.view_hashentry",
    "moderation.view_hashlist",
    "moderation.view_label",
    "moderation.view_policy",
    "moderation.view_policyrule",
    "moderation.view_review",
)
MODERATE = (
    *LOOK,
    "moderation.decide_review",
    "moderation.add_trialjudgement",
    "generation.add_generationrequest",
)
RECLASSIFY = (
    "moderation.view_reclassification",
    "moderation.add_reclassification",
    "moderation.change_reclassification",
)
# Verify the whole record, and see where its head was published.
VERIFY = (
    "moderation.view_verification",
    "moderation.add_verification",
    "moderation.view_publishedhead",
)
# Read risk by properties of requests, and try prompt rules.
READ_RISK = ("moderation.view_riskreport", "moderation.view_prompttrial")
TRY_PROMPTS = (*READ_RISK, "moderation.add_prompttrial")
# Golden images: see, mark and retire them. People who may see them are never given one.
GOLDEN = (
    "moderation.view_goldenimage",
    "moderation.add_goldenimage",
    "moderation.change_goldenimage",
)
# Keep images whatever a rule says; and say which images are removed when.
HOLD = ("moderation.view_legalhold", "moderation.add_legalhold")
RETAIN = (
    "moderation.view_retentionrule",
    "moderation.add_retentionrule",
    "moderation.change_retentionrule",
    "moderation.add_erasure",
)
CALIBRATE = ("moderation.add_calibrationsession",)
ROLES: dict[str, tuple[str, ...]] = {
    "moderator": MODERATE,
    "senior moderator": (
        *MODERATE,
        "moderation.decide_escalated_review",
        "moderation.view_periodcount",
        *RECLASSIFY,
        *VERIFY,
        *TRY_PROMPTS,
        *GOLDEN,
        *CALIBRATE,
        *HOLD,
        "moderation.export_decision",
        "moderation.add_hashentry",
        "moderation.delete_hashentry",
        "moderation.view_importset",
        "moderation.add_importset",
        "generation.resolve_request",
    ),
    "policy lead": (
        *LOOK,
        "moderation.use_admin_site",
        "moderation.view_periodcount",
        "moderation.add_policy",
        "moderation.change_policy",
        "moderation.add_policyrule",
        "moderation.change_policyrule",
        "moderation.delete_policyrule",
        "moderation.add_askrule",
        "moderation.change_askrule",
        "moderation.delete_askrule",
        "moderation.add_earnedtrust",
        "moderation.change_earnedtrust",
        "moderation.delete_earnedtrust",
        "moderation.activate_policy",
        "moderation.decide_lead_review",
        "moderation.add_trialjudgement",
        "moderation.view_head",
        "moderation.view_headchange",
        "moderation.view_headtraining",
        "moderation.promote_head",
        "moderation.add_hashlist",
        "moderation.change_hashlist",
        "moderation.import_hash_list",
        "moderation.add_hashentry",
        "moderation.delete_hashentry",
        *RECLASSIFY,
        *VERIFY,
        *TRY_PROMPTS,
        *GOLDEN,
        *CALIBRATE,
        *HOLD,
        "moderation.lift_legalhold",
        *RETAIN,
        "moderation.export_decision",
    ),
    "auditor": (
        *LOOK,
        *VERIFY,
        *READ_RISK,
        "moderation.view_legalhold",
        "moderation.view_retentionrule",
        "moderation.view_head",
        "moderation.view_headchange",
        "moderation.view_headtraining",
        "moderation.export_decision",
        "moderation.view_periodcount",
        "moderation.use_admin_site",
        "moderation.view_teamevent",
        "moderation.view_accesstrace",
        "moderation.view_recordevent",
    ),
    # Runs the installation and decides nothing: sees no images and no policy.
    "operator": (
        "generation.view_generationrequest",
        "generation.resolve_request",
        "generation.view_apikey",
        "generation.change_apikey",
        "generation.hold_api_key",
        "moderation.view_operations",
        "moderation.view_periodcount",
        "moderation.manage_team",
        "moderation.view_importset",
        "moderation.add_importset",
        *VERIFY,
        *TRY_PROMPTS,
        *HOLD,
        *RETAIN,
        "moderation.view_teamevent",
    ),
    "integrator": ("generation.hold_api_key",),
}


def add_permissions(group_model: Any, permission_model: Any, *, models: Collection[str]) -> None:
    """Give the groups the permissions of this table on these models of moderation.

    For migrations that add models. All other permissions stay as the house has set them, and a
    group that it has deleted is not created again.
    """
    for role, names in ROLES.items():
        codenames = [name.removeprefix("moderation.") for name in names]
        wanted = permission_model.objects.filter(
            content_type__app_label="moderation",
            content_type__model__in=models,
            codename__in=codenames,
        )
        for group in group_model.objects.filter(name=role):
            group.permissions.add(*wanted)


def create_roles(group_model: Any, permission_model: Any, *, names: Collection[str]) -> None:
    """Create groups with the permissions of this table, for migrations that add roles.

    A group of the same name that already has members belongs to the house and stays unchanged:
    its members would otherwise get permissions that nobody gave them.
    """
    for role in names:
        group, _ = group_model.objects.get_or_create(name=role)
        if group.user_set.exists():
            continue
        group.permissions.add(*_find(permission_model, ROLES[role]))


def sync(group_model: Any, permission_model: Any) -> None:
    """Set the groups' permissions to exactly this table. Later migrations use add_permissions.

    Models are passed in, so that migrations can use historical ones. A permission that does not
    exist yet is left out until a later migration calls this again.
    """
    for role, names in ROLES.items():
        group, _ = group_model.objects.get_or_create(name=role)
        group.permissions.set(_find(permission_model, names))


def _find(permission_model: Any, names: Collection[str]) -> list[Any]:
    """Return the permissions with these names, ``app.codename``, as far as they exist."""
    codenames = {name.partition(".")[2] for name in names}
    rows = permission_model.objects.filter(codename__in=codenames).select_related("content_type")
    return [row for row in rows if f"{row.content_type.app_label}.{row.codename}" in names]
