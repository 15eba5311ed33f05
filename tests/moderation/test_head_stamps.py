"""Time stamps of published heads, by a real small authority: openssl behind an HTTP server."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError

from moderation.models import PublishedHead
from moderation.services.verification import verify_record
from tests.moderation.page_helpers import MakeReview
from tests.moderation.record_helpers import without_triggers
from tests.moderation.test_commands import run_command
from tests.moderation.test_published_heads import decide

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
CONFIG = """\
[tsa]
default_tsa = this
[this]
serial = {folder}/serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
[authority]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
[stamp]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[req]
distinguished_name = name
[name]
"""


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_authority(folder: Path) -> None:
    """Make the certificates of an authority and of its signer."""
    folder.mkdir()
    (folder / "openssl.cnf").write_text(CONFIG.format(folder=folder))
    (folder / "serial").write_text("01")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config")
    openssl(
        folder,
        *("req", "-x509", *key, "openssl.cnf", "-days", "3650", "-subj", "/CN=Root"),
        *("-keyout", "root.key", "-out", "root.pem", "-extensions", "authority"),
    )
    openssl(
        folder,
        *("req", *key, "openssl.cnf", "-subj", "/CN=Stamps"),
        *("-keyout", "signer.key", "-out", "signer.csr"),
    )
    openssl(
        folder,
        *("x509", "-req", "-in", "signer.csr", "-CA", "root.pem", "-CAkey", "root.key"),
        *("-CAcreateserial", "-days", "3650", "-out", "signer.pem"),
        *("-extfile", "openssl.cnf", "-extensions", "stamp"),
    )


@pytest.fixture
def authority(tmp_path: Path, settings: Any) -> Iterator[Path]:
    """Run an authority, and configure it as the only place to publish to."""
    folder = tmp_path / "authority"
    make_authority(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            (folder / "query.tsq").write_bytes(query)
            openssl(
                folder,
                *("ts", "-reply", "-config", "openssl.cnf", "-queryfile", "query.tsq"),
                *("-inkey", "signer.key", "-signer", "signer.pem", "-out", "answer.tsr"),
            )
            content = (folder / "answer.tsr").read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings.HEAD_TIMESTAMP_URL = f"http://127.0.0.1:{server.server_address[1]}/"
    settings.HEAD_TIMESTAMP_CERTIFICATES = folder / "root.pem"
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_head_gets_a_time_stamp_that_verifies(
    make_review: MakeReview, moderator: User, authority: Path
) -> None:
    decide(make_review, moderator, 2)

    assert "decision 2" in run_command("publish_head")

    row = PublishedHead.objects.get()
    assert (row.status, row.target, bool(row.receipt)) == ("published", "stamp", True)
    assert verify_record()[1] == []


def test_statement_that_was_changed_does_not_fit_its_time_stamp(
    make_review: MakeReview, moderator: User, authority: Path
) -> None:
    decide(make_review, moderator)
    run_command("publish_head")

    with without_triggers():
        row = PublishedHead.objects.get()
        PublishedHead.objects.update(statement=row.statement | {"published_at": "2020-01-01"})

    assert any("The time stamp of the head at decision 1" in text for text in verify_record()[1])


def test_time_stamp_of_an_unknown_authority_is_refused_and_tried_again(
    make_review: MakeReview, moderator: User, authority: Path, tmp_path: Path, settings: Any
) -> None:
    decide(make_review, moderator)
    make_authority(tmp_path / "another")
    settings.HEAD_TIMESTAMP_CERTIFICATES = tmp_path / "another" / "root.pem"

    with pytest.raises(CommandError, match="Time stamp: The time stamp is not valid"):
        run_command("publish_head")

    row = PublishedHead.objects.get()
    assert (row.status, row.receipt) == ("waiting", "")
