"""AWS signatures: AWS's published test suite, and botocore on the same requests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from generation.wire.sigv4 import Credentials, get_host, sign

# Of https://github.com/awslabs/aws-c-auth/tree/main/tests/aws-signing-test-suite/v4
KEY_ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfI"
    "eoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0"
    "wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDry"
    "pNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)


def signature(method: str, *, url: str = "https://example.amazonaws.com/", **rest: Any) -> str:
    credentials = Credentials(
        access_key_id=KEY_ID, secret_access_key=SECRET, session_token=rest.pop("token", "")
    )
    headers = sign(
        credentials,
        method=method,
        url=url,
        headers=rest.pop("headers", {}),
        body=rest.pop("body", b""),
        region="us-east-1",
        service="service",
        now=NOW,
    )
    return headers["Authorization"].rpartition("=")[2]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        # get-vanilla
        (
            {"method": "GET"},
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        # post-vanilla
        (
            {"method": "POST"},
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        # post-x-www-form-urlencoded
        (
            {
                "method": "POST",
                "headers": {"Content-Type": "application/x-www-form-urlencoded"},
                "body": b"Param1=value1",
            },
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
        # post-sts-header-before
        (
            {"method": "POST", "token": TOKEN},
            "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        ),
        # get-header-value-trim
        (
            {
                "method": "GET",
                "headers": {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
            },
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
    ],
)
def test_signature_equals_that_of_the_test_suite(request_: dict[str, Any], expected: str) -> None:
    assert signature(**request_) == expected


@pytest.mark.parametrize("token", ["", TOKEN])
@pytest.mark.parametrize(
    "url",
    [
        "https://rekognition.eu-west-1.amazonaws.com/",
        "http://127.0.0.1:8000/sandbox/rekognition/",
        "https://proxy.example:443/aws%20east/%C3%BC/",
    ],
)
def test_signature_equals_botocores(url: str, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "RekognitionService.DetectModerationLabels",
    }
    body = b'{"Image": {"Bytes": "AAAA"}, "MinConfidence": 20.0}'
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None))
    theirs = AWSRequest("POST", url, headers=headers, data=body)
    boto = BotoCredentials(KEY_ID, SECRET, token or None)
    SigV4Auth(boto, "rekognition", "eu-west-1").add_auth(theirs)
    ours = sign(
        Credentials(access_key_id=KEY_ID, secret_access_key=SECRET, session_token=token),
        method="POST",
        url=url,
        headers=headers,
        body=body,
        region="eu-west-1",
        service="rekognition",
        now=NOW,
    )
    assert theirs.headers["X-Amz-Date"] == ours["X-Amz-Date"]
    assert theirs.headers["Authorization"] == ours["Authorization"]
    assert theirs.headers.get("X-Amz-Security-Token") == ours.get("X-Amz-Security-Token")


def test_host_has_no_login_and_no_usual_port() -> None:
    assert get_host("https://user:word@a.example:443/x") == "a.example"
    assert get_host("http://a.example:8000/x") == "a.example:8000"
    assert urlsplit("http://[::1]:80/").netloc == "[::1]:80"
    assert get_host("http://[::1]:80/") == "[::1]"


def test_credentials_hide_their_secrets_in_tracebacks() -> None:
    shown = repr(Credentials(access_key_id="id", secret_access_key="geheim", session_token="tok"))
    assert "id" in shown
    assert "geheim" not in shown
    assert "tok'" not in shown
