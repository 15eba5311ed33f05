from __future__ import annotations

from django.urls import include, path, re_path

from moderation.api import nanogpt, scenario
from moderation.api.novita import urls
from moderation.api.openapi import document
from moderation.forms.exports import EXPORTS
from moderation.services.exports.formats import FORMATS
from moderation.views import (
    batches,
    deliveries,
    developers,
    hash_lists,
    import_sets,
    invitations,
    judgement,
    look_alikes,
    palette,
    policies,
    queues,
    reclassifications,
    record,
    reports,
    reviews,
    search,
    sessions,
    sheet,
    team,
    verifications,
    wellbeing,
)

app_name = "moderation"
urlpatterns = [
    path("reviews/<uuid:uuid>/decisions/", reviews.decision_create, name="decision-create"),
    path("reviews/<uuid:uuid>/", reviews.review_detail, name="review-detail"),
    path("reviews/<uuid:uuid>/claim/", reviews.review_claim, name="review-claim"),
    path("reviews/<uuid:uuid>/skip/", reviews.review_skip, name="review-skip"),
    path("reviews/<uuid:uuid>/blur/", reviews.review_blur, name="review-blur"),
    path("reviews/<uuid:uuid>/hashes/", hash_lists.hash_entries, name="hash-entry-list"),
    path("hash-entries/<int:pk>/removal/", hash_lists.hash_entry_remove, name="hash-entry-delete"),
    path("reviews/<uuid:uuid>/look-alikes/", look_alikes.look_alike_list, name="look-alike-list"),
    path(
        "reviews/<uuid:uuid>/look-alikes/count/",
        look_alikes.look_alike_count,
        name="look-alike-count",
    ),
    path(
        "reviews/<uuid:uuid>/look-alikes/withdrawal/",
        look_alikes.look_alike_withdraw,
        name="look-alike-withdraw",
    ),
    path("queues/", queues.queue_list, name="queue-list"),
    path("queues/<slug:slug>/", queues.queue_detail, name="queue-detail"),
    path("queues/<slug:slug>/claims/", queues.claim_next, name="claim-next"),
    path("queues/<slug:slug>/deck/", queues.deck, name="deck"),
    path("queues/<slug:slug>/sheet/", sheet.sheet, name="sheet"),
    path("queues/<slug:slug>/sheet/decisions/", sheet.sheet_decide, name="sheet-decide"),
    path("queues/<slug:slug>/sheet/return/", sheet.sheet_return, name="sheet-return"),
    path("queues/<slug:slug>/saved/", queues.queue_save, name="queue-save"),
    path("queues/saved/<uuid:uuid>/deletion/", queues.saved_delete, name="saved-delete"),
    path("imports/", import_sets.import_set_list, name="import-set-list"),
    path("imports/<uuid:uuid>/", import_sets.import_set_detail, name="import-set-detail"),
    path("imports/<uuid:uuid>/files/", import_sets.imported_file_add, name="imported-file-add"),
    path("batches/<uuid:uuid>/", batches.batch_detail, name="batch-detail"),
    path("batches/<uuid:uuid>/reversal/", batches.batch_reverse, name="batch-reverse"),
    path(
        "batches/<uuid:uuid>/look-alikes/",
        look_alikes.batch_look_alike_list,
        name="batch-look-alike-list",
    ),
    path(
        "batches/<uuid:uuid>/look-alikes/count/",
        look_alikes.batch_look_alike_count,
        name="batch-look-alike-count",
    ),
    path("queues/<slug:slug>/arrivals/", queues.arrivals, name="arrivals"),
    path("palette/", palette.palette, name="palette"),
    path("live/", queues.live, name="live"),
    path("claims/renewal/", reviews.claim_renewal, name="claim-renewal"),
    path("claims/release/", reviews.claim_release, name="claim-release"),
    path("search/", search.search, name="search"),
    path("decisions/", record.decision_list, name="decision-list"),
    path("decisions/<uuid:uuid>/reversal/", record.decision_reverse, name="decision-reverse"),
    path(
        "reclassifications/",
        reclassifications.reclassification_list,
        name="reclassification-list",
    ),
    path(
        "reclassifications/new/",
        reclassifications.reclassification_create,
        name="reclassification-create",
    ),
    path(
        "reclassifications/<uuid:uuid>/cancellation/",
        reclassifications.reclassification_cancel,
        name="reclassification-cancel",
    ),
    path("policies/", policies.policy_list, name="policy-list"),
    path("policies/drafts/", policies.policy_create, name="policy-create"),
    path("policies/<int:version>/", policies.policy_detail, name="policy-detail"),
    path("policies/<int:version>/proposal/", policies.proposal_create, name="proposal-create"),
    path(
        "policies/proposals/<uuid:uuid>/approval/",
        policies.proposal_approve,
        name="proposal-approve",
    ),
    path(
        "policies/proposals/<uuid:uuid>/return/",
        policies.proposal_return,
        name="proposal-return",
    ),
    path(
        "policies/proposals/<uuid:uuid>/cancellation/",
        policies.proposal_cancel,
        name="proposal-cancel",
    ),
    path("policies/<int:version>/history/", policies.policy_history, name="policy-history"),
    path("new-findings/", reclassifications.new_finding_list, name="new-finding-list"),
    path(
        "new-findings/<uuid:uuid>/check/",
        reclassifications.new_finding_check,
        name="new-finding-check",
    ),
    path("verifications/", verifications.verification_list, name="verification-list"),
    path("verifications/new/", verifications.verification_create, name="verification-create"),
    path("undo/", record.undo, name="undo"),
    path("history/", reports.history, name="history"),
    path("quality/", reports.quality, name="quality"),
    path("exposure/", wellbeing.exposure, name="exposure"),
    path("exposure/later/", wellbeing.postpone_break, name="exposure-later"),
    path("break/", wellbeing.take_break, name="rest"),
    path("preferences/avoided/", wellbeing.avoid_category, name="avoided"),
    *(
        path(
            f"exports/{kind}.{file_format}",
            record.export,
            {"kind": kind, "file_format": file_format},
            name=f"{kind}-{file_format}",
        )
        for kind in EXPORTS
        for file_format in FORMATS
    ),
    path(
        "judgement.json", judgement.figures, {"file_format": "json"}, name="judgement-report-json"
    ),
    path("judgement.csv", judgement.figures, {"file_format": "csv"}, name="judgement-report-csv"),
    path("team/", team.person_list, name="person-list"),
    path("team/roles/", team.role_list, name="role-list"),
    path("team/changes/", team.team_event_list, name="team-event-list"),
    path("team/invitations/", team.invitation_list, name="invitation-list"),
    path(
        "team/invitations/<uuid:uuid>/revocation/",
        team.invitation_revoke,
        name="invitation-revoke",
    ),
    path("team/<int:pk>/", team.person_detail, name="person-detail"),
    path("team/<int:pk>/roles/", team.person_role_change, name="person-role-change"),
    path("team/<int:pk>/deactivation/", team.person_deactivate, name="person-deactivate"),
    path("team/<int:pk>/reactivation/", team.person_reactivate, name="person-reactivate"),
    path("team/<int:pk>/sessions/end/", team.person_session_end, name="person-session-end"),
    path("team/<int:pk>/password/", team.person_password, name="person-password"),
    path("sessions/", sessions.session_list, name="session-list"),
    path("sessions/others/end/", sessions.session_rest_end, name="session-rest-end"),
    path("sessions/<uuid:uuid>/end/", sessions.session_end, name="session-end"),
    path("invitations/<str:token>/", invitations.invitation_accept, name="invitation-accept"),
    path("deliveries/", deliveries.delivery_list, name="delivery-list"),
    path("developers/", developers.developers, name="developers"),
    path(
        "developers/keys/<uuid:uuid>/webhook-secret/",
        developers.rotate_webhook_secret,
        name="rotate-webhook-secret",
    ),
    # URLs of other services' formats, without a trailing slash.
    path("api/nsfw/image", nanogpt.classify, name="nanogpt-classify"),
    path("api/openapi.json", document.document, name="openapi"),
    path("api/docs", document.docs, name="api-docs"),
    path("v1/assets", scenario.list_assets, name="scenario-assets"),
    path("v1/assets/get-bulk", scenario.list_assets_in_bulk, name="scenario-assets-in-bulk"),
    path("v1/assets/<str:asset_id>", scenario.get_asset, name="scenario-asset"),
    re_path(r"v1/[\s\S]*$", scenario.reject_unknown),
    path("/v3/", include(urls)),  # for clients whose base URL ends with a slash
    path("v3/", include(urls)),
]
