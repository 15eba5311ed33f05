"""Settings of django-allauth for an identity provider that speaks SAML 2.0."""

from __future__ import annotations

from typing import Any

SLUG = "sso"
# Attributes of people, by the names that providers use; the first one found counts.
CLAIMS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
ATTRIBUTES = {
    "uid": ["urn:oasis:names:tc:SAML:attribute:subject-id"],
    "username": [
        "urn:oid:0.9.2342.19200300.100.1.1",
        f"{CLAIMS}/name",
        "http://schemas.auth0.com/nickname",
        "username",
        "uid",
    ],
    "email": ["urn:oid:0.9.2342.19200300.100.1.3", f"{CLAIMS}/emailaddress", "email", "mail"],
    "email_verified": ["http://schemas.auth0.com/email_verified", "email_verified"],
}
METADATA_SECONDS = 3600  # a provider that changes its key announces the new one for days
METADATA_FILE_SECONDS = 60


def build_saml_provider(metadata: str, name: str, public_url: str) -> dict[str, Any]:
    """Return SOCIALACCOUNT_PROVIDERS for the provider whose metadata has this URL."""
    is_file = metadata.startswith("file:")
    return {
        "saml": {
            "APPS": [
                {
                    "name": name,
                    "client_id": SLUG,
                    "settings": {
                        "attribute_mapping": ATTRIBUTES,
                        "idp": {
                            "entity_id": None,  # that of the first provider in the metadata
                            "metadata_url": metadata,
                            "metadata_request_timeout": 5,
                            "metadata_cache_timeout": (
                                METADATA_FILE_SECONDS if is_file else METADATA_SECONDS
                            ),
                        },
                        # Fixed, because providers compare it letter by letter.
                        "sp": {"entity_id": f"{public_url}/saml/{SLUG}/metadata/"},
                        "advanced": {
                            "allow_single_label_domains": True,  # hosts of an internal network
                            "reject_idp_initiated_sso": True,
                            "want_assertion_signed": True,
                            "want_attribute_statement": False,  # a person without attributes
                            "want_name_id": True,
                        },
                    },
                }
            ]
        }
    }
