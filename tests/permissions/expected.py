"""Expected status codes and permissions that test_matrix.py compares with the site."""

from __future__ import annotations

# Route → status codes of GET and of an empty POST, in the order of PEOPLE: anonymous, no role,
# moderator, senior, lead, auditor, user manager, superuser. A single number applies to all. A
# deactivated account and an API key get the status of anonymous.
PAGES: dict[str, tuple[str, str]] = {
    "reviews/<uuid:uuid>/decisions/": (
        "302 405 405 405 405 405 405 405",
        "302 404 422 422 422 422 404 422",
    ),
    "reviews/<uuid:uuid>/": ("302 404 200 200 200 200 404 200", "302 405 405 405 405 405 405 405"),
    "reviews/<uuid:uuid>/claim/": (
        "302 405 405 405 405 405 405 405",
        "302 404 303 303 403 403 404 303",
    ),
    "reviews/<uuid:uuid>/blur/": (
        "302 405 405 405 405 405 405 405",
        "302 404 409 409 403 403 404 409",
    ),
    "reviews/<uuid:uuid>/skip/": (
        "302 405 405 405 405 405 405 405",
        "302 404 303 303 303 303 404 303",
    ),
    "reviews/<uuid:uuid>/hashes/": (
        "302 403 403 200 200 403 403 200",
        "302 403 403 422 422 403 403 422",
    ),
    "hash-entries/<int:pk>/removal/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 404 404 403 403 404",
    ),
    "reviews/<uuid:uuid>/look-alikes/": (
        "302 404 200 200 200 200 404 200",
        "302 405 405 405 405 405 405 405",
    ),
    "reviews/<uuid:uuid>/look-alikes/count/": (
        "302 404 204 204 204 204 404 204",
        "302 405 405 405 405 405 405 405",
    ),
    "reviews/<uuid:uuid>/look-alikes/withdrawal/": (
        "302 405 405 405 405 405 405 405",
        "302 404 409 409 403 403 404 409",
    ),
    "queues/": ("302 200 200 200 200 200 200 200", "302 405 405 405 405 405 405 405"),
    "queues/<slug:slug>/": ("302 404 200 200 404 404 404 200", "302 405 405 405 405 405 405 405"),
    "queues/<slug:slug>/claims/": (
        "302 405 405 405 405 405 405 405",
        "302 404 303 303 404 404 404 303",
    ),
    "queues/<slug:slug>/deck/": (
        "302 405 405 405 405 405 405 405",
        "302 404 200 200 404 404 404 200",
    ),
    "queues/<slug:slug>/sheet/": (
        "302 404 200 200 404 404 404 200",
        "302 404 303 303 404 404 404 303",
    ),
    "queues/<slug:slug>/sheet/decisions/": (
        "302 405 405 405 405 405 405 405",
        "302 404 422 422 404 404 404 422",
    ),
    "queues/<slug:slug>/sheet/return/": (
        "302 405 405 405 405 405 405 405",
        "302 404 303 303 404 404 404 303",
    ),
    "queues/<slug:slug>/saved/": (
        "302 405 405 405 405 405 405 405",
        "302 404 422 422 404 404 404 422",
    ),
    "queues/saved/<uuid:uuid>/deletion/": (
        "302 405 405 405 405 405 405 405",
        "302 404 404 404 404 404 404 404",
    ),
    "imports/": ("302 403 403 200 403 403 403 200", "302 403 403 303 403 403 403 303"),
    "imports/<uuid:uuid>/": (
        "302 403 403 200 403 403 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "imports/<uuid:uuid>/files/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 303 403 403 403 303",
    ),
    "batches/<uuid:uuid>/": ("302 403 200 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "batches/<uuid:uuid>/look-alikes/": (
        "302 403 200 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "batches/<uuid:uuid>/look-alikes/count/": (
        "302 403 204 204 204 204 403 204",
        "302 405 405 405 405 405 405 405",
    ),
    "batches/<uuid:uuid>/reversal/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 422 403 403 403 422",
    ),
    "queues/<slug:slug>/arrivals/": (
        "302 404 200 200 404 404 404 200",
        "302 405 405 405 405 405 405 405",
    ),
    "palette/": ("302 200 200 200 200 200 200 200", "302 405 405 405 405 405 405 405"),
    "live/": ("302 200 200 200 200 200 200 200", "302 405 405 405 405 405 405 405"),
    "claims/renewal/": ("302 405 405 405 405 405 405 405", "302 200 200 200 200 200 200 200"),
    "claims/release/": ("302 405 405 405 405 405 405 405", "302 204 204 204 204 204 204 204"),
    "search/": ("302 403 200 200 200 200 403 200", "302 403 422 422 422 422 403 422"),
    "decisions/": ("302 403 200 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "decisions/<uuid:uuid>/reversal/": (
        "302 405 405 405 405 405 405 405",
        "302 404 403 422 403 403 404 422",
    ),
    "undo/": ("302 405 405 405 405 405 405 405", "302 303 303 303 303 303 303 303"),
    "reclassifications/": (
        "302 403 403 200 200 403 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "reclassifications/new/": (
        "302 403 403 200 200 403 403 200",
        "302 403 403 200 200 403 403 200",
    ),
    "reclassifications/<uuid:uuid>/cancellation/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 303 303 403 403 303",
    ),
    "policies/": ("302 403 200 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "policies/drafts/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 303 403 403 303",
    ),
    "policies/<int:version>/": (
        "302 403 200 200 200 200 403 200",
        "302 403 403 403 422 403 403 422",
    ),
    "policies/<int:version>/proposal/": (
        "302 403 200 200 200 200 403 200",
        "302 403 403 403 422 403 403 422",
    ),
    "policies/proposals/<uuid:uuid>/approval/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 303 403 403 303",
    ),
    "policies/proposals/<uuid:uuid>/return/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 422 403 403 422",
    ),
    "policies/proposals/<uuid:uuid>/cancellation/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 303 403 403 303",
    ),
    "policies/<int:version>/history/": (
        "302 403 200 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "policies/<int:version>/trials/": (
        "302 403 200 200 200 200 403 200",
        "302 403 403 403 422 403 403 422",
    ),
    "policies/<int:version>/shadow/": (
        "302 403 200 200 200 200 403 200",
        "302 403 403 403 303 403 403 303",
    ),
    "policies/<int:version>/shadow/cancellation/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 303 403 403 303",
    ),
    "policies/trials/<uuid:uuid>/": (
        "302 403 200 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "policies/trials/<uuid:uuid>/figures.json": (
        "302 403 200 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "policies/trials/<uuid:uuid>/cancellation/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 303 403 403 303",
    ),
    "policies/trials/<uuid:uuid>/images/": (
        "302 403 404 404 404 404 403 404",
        "302 405 405 405 405 405 405 405",
    ),
    "policies/trials/<uuid:uuid>/judgements/": (
        "302 405 405 405 405 405 405 405",
        "302 403 404 404 404 403 403 404",
    ),
    "new-findings/": ("302 403 403 200 403 403 403 200", "302 405 405 405 405 405 405 405"),
    "new-findings/<uuid:uuid>/check/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 303 403 403 403 303",
    ),
    "verifications/": ("302 403 403 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "verifications/new/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 303 303 303 403 303",
    ),
    "history/": ("302 200 200 200 200 200 200 200", "302 405 405 405 405 405 405 405"),
    "quality/": ("302 403 403 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "insights/": ("302 403 403 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "insights/quality/": ("302 403 403 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "insights/services/": ("302 403 403 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "insights/classifiers/": (
        "302 403 403 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "insights/risk/": (
        "302 403 403 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "insights/risk/<slug:kind>/": (
        "302 403 403 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "insights/risk.json": (
        "302 403 403 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "insights/risk.csv": (
        "302 403 403 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "insights/prompts/": (
        "302 403 403 200 200 200 403 200",
        "302 403 403 422 422 403 403 422",
    ),
    "insights/prompts/<uuid:uuid>/": (
        "302 403 403 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "insights/prompts/<uuid:uuid>/figures.json": (
        "302 403 403 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "insights/prompts/<uuid:uuid>/cancellation/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 303 303 403 403 303",
    ),
    "insights.json": ("302 403 403 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "insights.csv": ("302 403 403 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "exposure/": ("302 303 303 303 303 303 303 303", "302 405 405 405 405 405 405 405"),
    "exposure/later/": ("302 405 405 405 405 405 405 405", "302 303 303 303 303 303 303 303"),
    "break/": ("302 200 200 200 200 200 200 200", "302 303 303 303 303 303 303 303"),
    "preferences/avoided/": ("302 405 405 405 405 405 405 405", "302 422 422 422 422 422 422 422"),
    "exports/decisions.csv": ("302 403 403 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "exports/decisions.jsonl": (
        "302 403 403 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "exports/decisions.parquet": (
        "302 403 403 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "judgement.json": ("302 403 403 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "judgement.csv": ("302 403 403 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "exports/images.csv": ("302 403 403 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "exports/images.jsonl": ("302 403 403 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "exports/images.parquet": (
        "302 403 403 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "developers/keys/<uuid:uuid>/webhook-secret/": (
        "302 405 405 405 405 405 405 405",
        "302 404 404 404 404 404 404 404",
    ),
    "developers/keys/<uuid:uuid>/webhook-test/": (
        "302 405 405 405 405 405 405 405",
        "302 404 404 404 404 404 404 404",
    ),
    "developers/": ("302 200 200 200 200 200 200 200", "302 405 405 405 405 405 405 405"),
    "": ("302 200 200 200 200 200 200 200", "302 405 405 405 405 405 405 405"),
    "login/": ("200 302 302 302 302 302 302 302", "200 302 302 302 302 302 302 302"),
    "login/code/": ("302", "302"),
    "login/passkey/": ("302", "302"),
    "login/inactive/": ("200", "405"),
    "logout/": ("405", "302"),
    "password/forgotten/": ("200", "409"),
    "password/forgotten/sent/": ("200", "405"),
    "password/forgotten/done/": ("200", "405"),
    "password/forgotten/<str:uidb36>/<str:key>/": ("410", "410"),
    "reauthenticate/": ("302 200 200 200 200 200 200 200", "302 200 200 200 200 200 200 200"),
    "reauthenticate/code/": ("302", "302"),
    "reauthenticate/passkey/": ("302", "302"),
    "reauthenticate/download/": (
        "302 404 404 404 404 404 404 404",
        "302 405 405 405 405 405 405 405",
    ),
    "factors/": ("302 200 200 200 200 200 200 200", "302 405 405 405 405 405 405 405"),
    "factors/app/": ("302 200 200 200 200 200 200 200", "302 200 200 200 200 200 200 200"),
    "factors/app/removal/": (
        "302 404 404 404 404 404 404 404",
        "302 404 404 404 404 404 404 404",
    ),
    "factors/recovery-codes/": (
        "302 404 404 404 404 404 404 404",
        "302 405 405 405 405 405 405 405",
    ),
    "factors/recovery-codes/new/": (
        "302 200 200 200 200 200 200 200",
        "302 200 200 200 200 200 200 200",
    ),
    "factors/passkeys/new/": (
        "302 200 200 200 200 200 200 200",
        "302 200 200 200 200 200 200 200",
    ),
    "factors/passkeys/<int:pk>/removal/": (
        "302 404 404 404 404 404 404 404",
        "302 404 404 404 404 404 404 404",
    ),
    "password/": ("302 200 200 200 200 200 200 200", "302 422 422 422 422 422 422 422"),
    "providers/": ("302 403 403 200 403 403 403 200", "302 405 405 405 405 405 405 405"),
    "providers/<slug:slug>/check/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 404 403 403 403 404",
    ),
    "heads/": ("302 403 403 403 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "heads/<int:pk>/status/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 404 403 403 404",
    ),
    "team/": ("302 403 200 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "team/calibrations/": (
        "302 403 200 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "team/calibrations/new/": (
        "302 403 403 200 200 403 403 200",
        "302 403 403 422 422 403 403 422",
    ),
    "team/calibrations/<uuid:uuid>/": (
        "302 403 404 404 404 404 403 404",
        "302 405 405 405 405 405 405 405",
    ),
    **{
        f"team/calibrations/<uuid:uuid>/{part}/": (
            "302 405 405 405 405 405 405 405",
            "302 403 404 404 404 404 403 404",
        )
        for part in ("answers", "finish", "closure", "notes")
    },
    "team/golden/": ("302 403 403 200 200 403 403 200", "302 405 405 405 405 405 405 405"),
    "team/golden/<uuid:uuid>/retirement/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 303 303 403 403 303",
    ),
    "reviews/<uuid:uuid>/golden/": (
        "302 403 403 200 200 403 403 200",
        "302 403 403 409 409 403 403 409",
    ),
    "history/golden/": ("302 200 200 200 200 200 200 200", "302 405 405 405 405 405 405 405"),
    "team/roles/": ("302 403 200 200 200 200 403 200", "302 405 405 405 405 405 405 405"),
    "team/changes/": ("302 403 403 403 403 200 403 200", "302 405 405 405 405 405 405 405"),
    "team/invitations/": ("302 403 403 403 403 403 403 200", "302 403 403 403 403 403 403 422"),
    "team/invitations/<uuid:uuid>/revocation/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 403 403 403 303",
    ),
    "team/<int:pk>/": ("302 403 403 403 403 403 403 200", "302 405 405 405 405 405 405 405"),
    "team/<int:pk>/roles/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 403 403 403 303",
    ),
    "team/<int:pk>/deactivation/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 403 403 403 303",
    ),
    "team/<int:pk>/reactivation/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 403 403 403 303",
    ),
    "team/<int:pk>/sessions/end/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 403 403 403 303",
    ),
    "team/<int:pk>/password/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 403 403 403 200",
    ),
    "team/<int:pk>/keys/revocation/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 403 403 403 303",
    ),
    "team/keys/": ("302 403 403 403 403 403 403 200", "302 405 405 405 405 405 405 405"),
    "team/keys/<uuid:uuid>/revocation/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 403 403 403 303",
    ),
    "keys/": ("302 403 403 403 403 403 403 200", "302 403 403 403 403 403 403 422"),
    "keys/<uuid:uuid>/rotation/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 403 403 403 404",
    ),
    "keys/<uuid:uuid>/revocation/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 403 403 403 403 404",
    ),
    "sessions/": ("302 200 200 200 200 200 200 200", "302 405 405 405 405 405 405 405"),
    "sessions/others/end/": ("302 405 405 405 405 405 405 405", "302 303 303 303 303 303 303 303"),
    "sessions/<uuid:uuid>/end/": (
        "302 405 405 405 405 405 405 405",
        "302 404 404 404 404 404 404 404",
    ),
    "invitations/<str:token>/": ("410", "410"),
    "deliveries/<uuid:uuid>/retry/": (
        "302 405 405 405 405 405 405 405",
        "302 404 404 404 404 404 404 303",
    ),
    "deliveries/": ("302 403 403 403 403 403 403 200", "302 405 405 405 405 405 405 405"),
    "preferences/": ("302 200 200 200 200 200 200 200", "303"),
    "requests/": ("302 200 200 200 200 200 200 200", "302 405 405 405 405 405 405 405"),
    "requests/new/": ("302 403 200 200 403 403 403 200", "302 403 422 422 403 403 403 422"),
    "requests/models/": ("302 403 200 200 403 403 403 200", "302 405 405 405 405 405 405 405"),
    "requests/<uuid:uuid>/": ("302 404 200 200 200 200 404 200", "302 405 405 405 405 405 405 405"),
    "requests/<uuid:uuid>/cancellation/": (
        "302 405 405 405 405 405 405 405",
        "302 404 403 302 403 403 404 302",
    ),
    "requests/<uuid:uuid>/retry/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 409 403 403 403 409",
    ),
    "requests/<uuid:uuid>/abandonment/": (
        "302 405 405 405 405 405 405 405",
        "302 403 403 409 403 403 403 409",
    ),
    "assets/<uuid:uuid>/": ("302 404 200 200 200 200 404 200", "302 405 405 405 405 405 405 405"),
    "assets/<uuid:uuid>.json": (
        "302 403 403 200 200 200 403 200",
        "302 405 405 405 405 405 405 405",
    ),
    "assets/<uuid:uuid>/file": (
        "302 404 200 200 200 200 404 200",
        "302 405 405 405 405 405 405 405",
    ),
    "assets/<uuid:uuid>/thumbnail": (
        "302 404 200 200 200 200 404 200",
        "302 405 405 405 405 405 405 405",
    ),
    "assets/<uuid:uuid>/views/<slug:kind>": (
        "302 404 200 200 200 200 404 200",
        "302 405 405 405 405 405 405 405",
    ),
    "assets/<uuid:uuid>/preview": (
        "302 301 301 301 301 301 301 301",
        "302 405 405 405 405 405 405 405",
    ),
    "admin/": ("302 302 302 302 200 200 200 200", "302 302 302 302 200 200 200 200"),
    "admin/login/": ("302 403 403 403 302 302 302 302", "302 403 403 403 302 302 302 302"),
    "admin/logout/": ("302 302 302 302 405 405 405 405", "302"),
    "admin/password_change/": (
        "302 302 302 302 200 200 200 200",
        "302 302 302 302 200 200 200 200",
    ),
    "admin/password_change/done/": (
        "302 302 302 302 200 200 200 200",
        "302 302 302 302 405 405 405 405",
    ),
    "admin/autocomplete/": ("302 302 302 302 403 403 403 403", "302 302 302 302 405 405 405 405"),
    "admin/jsi18n/": ("302 302 302 302 200 200 200 200", "302 302 302 302 405 405 405 405"),
    "admin/r/<path:content_type_id>/<path:object_id>/": (
        "302 302 302 302 404 404 404 404",
        "302 302 302 302 404 404 404 404",
    ),
    "admin/^<app_label>/$": (
        "302 302 302 302 200 200 404 200",
        "302 302 302 302 200 200 404 200",
    ),
    "admin/(?P<url>.*)$": ("302 302 302 302 404 404 404 404", "302 302 302 302 404 404 404 404"),
}

# Role → route → status codes of GET and of an empty POST. On all other pages these roles get the
# status of "no role".
OTHER_ROLES: dict[str, dict[str, str]] = {
    "operator": {
        "imports/": "200 303",
        "imports/<uuid:uuid>/": "200 405",
        "imports/<uuid:uuid>/files/": "405 303",
        "insights/": "200 405",
        "insights/quality/": "200 405",
        "insights/services/": "200 405",
        "insights/classifiers/": "200 405",
        "insights/risk/": "200 405",
        "insights/risk/<slug:kind>/": "200 405",
        "insights/risk.json": "200 405",
        "insights/prompts/": "200 422",
        "insights/prompts/<uuid:uuid>/": "200 405",
        "insights/prompts/<uuid:uuid>/figures.json": "200 405",
        "insights/prompts/<uuid:uuid>/cancellation/": "405 303",
        "insights.json": "200 405",
        "quality/": "200 405",
        "providers/": "200 405",
        "providers/<slug:slug>/check/": "405 404",
        "deliveries/": "200 405",
        "deliveries/<uuid:uuid>/retry/": "405 303",
        "verifications/": "200 405",
        "verifications/new/": "405 303",
        "team/": "200 405",
        "team/<int:pk>/keys/revocation/": "405 303",
        "team/keys/": "200 405",
        "team/keys/<uuid:uuid>/revocation/": "405 303",
        "keys/": "200 422",
        "keys/<uuid:uuid>/rotation/": "405 404",
        "keys/<uuid:uuid>/revocation/": "405 404",
        "team/roles/": "200 405",
        "team/changes/": "200 405",
        "team/invitations/": "200 422",
        "team/invitations/<uuid:uuid>/revocation/": "405 303",
        "team/<int:pk>/": "200 405",
        "team/<int:pk>/roles/": "405 303",
        "team/<int:pk>/deactivation/": "405 303",
        "team/<int:pk>/reactivation/": "405 303",
        "team/<int:pk>/sessions/end/": "405 303",
        "team/<int:pk>/password/": "405 200",
        "requests/<uuid:uuid>/": "200 405",
        "requests/<uuid:uuid>/cancellation/": "405 302",
        "requests/<uuid:uuid>/retry/": "405 409",
        "requests/<uuid:uuid>/abandonment/": "405 409",
    },
    "integrator": {
        "keys/": "200 422",
        "keys/<uuid:uuid>/rotation/": "405 404",
        "keys/<uuid:uuid>/revocation/": "405 404",
    },
}

# Route → status codes of GET and POST without an API key, logged in or not; then of GET and of POST
# with each of KEYS: generate, classify, read, read:all, key of an inactive account.
API: dict[str, tuple[str, str, str]] = {
    "api/nsfw/image": ("401 401", "405 405 405 405 401", "403 400 403 403 401"),
    "api/openapi.json": ("200 405", "200", "405"),
    "api/docs": ("200 405", "200", "405"),
    "v1/assets": ("401 401", "403 403 200 200 401", "405 405 405 405 401"),
    "v1/assets/get-bulk": ("401 401", "405 405 405 405 401", "403 403 400 400 401"),
    "v1/assets/<str:asset_id>": ("401 401", "403 403 404 200 401", "405 405 405 405 401"),
    "v1/[\\s\\S]*$": ("404 404", "404", "404"),
    "/v3/async/txt2img": ("400 400", "405 405 405 405 403", "400 403 403 403 403"),
    "/v3/async/task-result": ("400 400", "404 403 403 403 403", "405 405 405 405 403"),
    "/v3/model": ("400 400", "503 403 403 403 403", "405 405 405 405 403"),
    "/v3/images/<str:token>.<slug:extension>": ("403 405", "403", "405"),
    "/v3/[\\s\\S]*$": ("404 404", "404", "404"),
    "v3/async/txt2img": ("400 400", "405 405 405 405 403", "400 403 403 403 403"),
    "v3/async/task-result": ("400 400", "404 403 403 403 403", "405 405 405 405 403"),
    "v3/model": ("400 400", "503 403 403 403 403", "405 405 405 405 403"),
    "v3/images/<str:token>.<slug:extension>": ("403 405", "403", "405"),
    "v3/[\\s\\S]*$": ("404 404", "404", "404"),
    "webhooks/novita/<str:secret>": ("405 404", "405", "404"),
}

# Model → admin pages that a lead, an auditor, a user manager and a superuser may open: v(iew),
# a(dd), c(hange), d(elete). A read-only model has a change page too. The admin site refuses
# everybody else.
ADMIN: dict[str, str] = {
    "auth.group": "- - vc vacd",
    "auth.user": "- - vacd vacd",
    "axes.accessattempt": "- - - vcd",
    "axes.accessfailurelog": "- - - vcd",
    "axes.accesslog": "- - - vcd",
    "django_q.failure": "- - - vc",
    "django_q.ormq": "- - - vc",
    "django_q.schedule": "- - - vc",
    "django_q.success": "- - - vc",
    "generation.apicall": "- - - vc",
    "generation.apikey": "- - - vac",
    "generation.asset": "vc vc - vc",
    "generation.assettext": "- - - vc",
    "generation.generationrequest": "vc vc - vc",
    "generation.imagesofday": "- - - vc",
    "generation.importrun": "- - - vc",
    "generation.providerstate": "- - - vc",
    "generation.jobslot": "- - - vc",
    "generation.storagereport": "- - - vc",
    "moderation.audit": "- - - vc",
    "moderation.chore": "- - - vc",
    "moderation.classification": "vc vc - vc",
    "moderation.dailystats": "- - - vc",
    "moderation.decision": "vc vc - vc",
    "moderation.delivery": "- - - vc",
    "moderation.embedding": "- - - vc",
    "moderation.hashentry": "vcd vc - vcd",
    "moderation.hashlist": "vac vc - vac",
    "moderation.head": "vc vc - vc",
    "moderation.headchange": "vc vc - vc",
    "moderation.headrescoring": "- - - vc",
    "moderation.headtraining": "vc vc - vc",
    "moderation.importedfile": "- - - vc",
    "moderation.importset": "- - - vc",
    "moderation.invitation": "- - - vc",
    "moderation.judgementreport": "- - - vc",
    "moderation.label": "vc vc - vc",
    "moderation.newfinding": "- - - vc",
    "moderation.policy": "vc vc - vc",
    "moderation.policyshadow": "- - - vc",
    "moderation.policytrial": "- - - vc",
    "moderation.preferences": "- - - vacd",
    "moderation.reclassification": "vc - - vc",
    "moderation.resettlement": "- - - vc",
    "moderation.review": "vc vc - vc",
    "moderation.prompttrial": "vc vc - vc",
    "moderation.riskprogress": "- - - vc",
    "moderation.riskreport": "vc vc - vc",
    "moderation.riskstats": "- - - vc",
    "moderation.savedqueue": "- - - vacd",
    "moderation.teamevent": "- vc - vc",
    "moderation.shadowcheck": "- - - vc",
    "moderation.shadowcount": "- - - vc",
    "moderation.shadowresult": "- - - vc",
    "moderation.trialjudgement": "- - - vc",
    "moderation.wordstatsprogress": "- - - vc",
    "moderation.publishedhead": "vc vc - vc",
    "moderation.verification": "vc vc - vc",
    "moderation.wordstats": "- - - vc",
    "sandbox.sandboxrefusal": "- - - vc",
    "sandbox.sandboxtask": "- - - vc",
}
