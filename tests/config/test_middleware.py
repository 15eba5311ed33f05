from __future__ import annotations

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


def test_a_lapsed_session_sends_htmx_to_the_login_page_and_back_to_where_it_was() -> None:
    answer = Client().get(
        "/queues/waiting/",
        headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/reviews/x/?queue=waiting"},
    )

    assert answer.status_code == 204
    assert answer["HX-Redirect"] == "/login/?next=%2Freviews%2Fx%2F%3Fqueue%3Dwaiting"
    assert Client().get("/queues/waiting/").status_code == 302


def test_pages_stay_out_of_caches_and_of_other_sites() -> None:
    answer = Client().get("/login/")

    assert {"private", "no-store"} <= set(answer["Cache-Control"].replace(",", "").split())
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "unsafe" not in answer["Content-Security-Policy"]
