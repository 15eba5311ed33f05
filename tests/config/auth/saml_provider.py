"""An identity provider that speaks SAML 2.0 (pysaml2), on a port of this machine."""

from __future__ import annotations

import base64
import html
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import NameOID
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from tests.deploy.servers import find_program

with warnings.catch_warnings():
    # It names a cipher that cryptography calls old, and does not use it here.
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT, saml
    from saml2.config import IdPConfig
    from saml2.metadata import create_metadata_string
    from saml2.server import Server
    from saml2.sigver import pre_signature_part


def make_key(folder: Path) -> tuple[str, str]:
    """Write a key and its certificate; return their paths."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "House ID")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return str(folder / "key.pem"), str(folder / "certificate.pem")


class SamlProvider:
    """A provider that logs its one person in without a question.

    The attributes are what it says about that person. ``falsify`` changes an answer before it is
    signed, ``tamper`` the text afterwards.
    """

    def __init__(self, folder: Path) -> None:
        self.server = make_server("127.0.0.1", 0, self, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        key, certificate = make_key(folder)
        self.settings = {
            "entityid": f"{self.url}/metadata",
            "xmlsec_binary": find_program("xmlsec1"),
            "key_file": key,
            "cert_file": certificate,
            "service": {
                "idp": {
                    "endpoints": {
                        "single_sign_on_service": [(f"{self.url}/sso", BINDING_HTTP_REDIRECT)]
                    },
                    "policy": {
                        "default": {"lifetime": {"minutes": 5}, "name_form": saml.NAME_FORMAT_URI}
                    },
                }
            },
        }
        self.service_metadata = ""
        self.reset()

    def reset(self) -> None:
        """Forget what a test has set."""
        self.name_id = saml.NameID(format=saml.NAMEID_FORMAT_PERSISTENT, text="u1")
        self.attributes: dict[str, Any] = {}
        self.sign_assertion = True
        self.authenticated_at: str | float = ""
        self.falsify: Callable[[Any], None] = lambda answer: None
        self.tamper: Callable[[str], str] = lambda text: text
        self.asked: list[Any] = []

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        if request.path == "/metadata":
            config = IdPConfig().load(self.settings)
            body: Any = create_metadata_string(None, config=config)
            answer = Response(body, content_type="text/xml")
        else:
            answer = Response(self._log_in(parse_qs(environ["QUERY_STRING"])), mimetype="text/html")
        return answer(environ, start_response)

    def _log_in(self, query: dict[str, list[str]]) -> str:
        provider = Server(
            config=IdPConfig().load(
                {**self.settings, "metadata": {"inline": [self.service_metadata]}}
            )
        )
        question = provider.parse_authn_request(query["SAMLRequest"][0], BINDING_HTTP_REDIRECT)
        self.asked.append(question.message)
        arguments = provider.response_args(question.message, [BINDING_HTTP_POST])
        answer = provider.create_authn_response(
            self.attributes,
            in_response_to=arguments["in_response_to"],
            destination=arguments["destination"],
            sp_entity_id=arguments["sp_entity_id"],
            name_id=self.name_id,
            authn={
                "class_ref": saml.AUTHN_PASSWORD_PROTECTED,
                "authn_instant": self.authenticated_at,
            },
            sign_response=False,
            sign_assertion=False,
        )
        self.falsify(answer)
        text = self._sign(provider, answer) if self.sign_assertion else str(answer)
        encoded = base64.b64encode(self.tamper(text).encode()).decode()
        return (
            f'<form method="post" action="{html.escape(arguments["destination"])}">'
            f'<input name="SAMLResponse" value="{encoded}"><button>Continue</button></form>'
        )

    @staticmethod
    def _sign(provider: Server, answer: Any) -> str:
        assertion = answer.assertion
        assertion.signature = pre_signature_part(
            assertion.id, provider.sec.my_cert, 1, sign_alg=SHA256, digest_alg=DIGEST
        )
        return str(
            provider.sec.sign_statement(
                str(answer), "urn:oasis:names:tc:SAML:2.0:assertion:Assertion", node_id=assertion.id
            )
        )


SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
DIGEST = "http://www.w3.org/2001/04/xmlenc#sha256"


def read_form(page: str) -> tuple[str, str]:
    """Return address and answer of the form that the browser would send."""
    action = re.search(r'action="([^"]+)"', page)
    answer = re.search(r'value="([^"]+)"', page)
    assert action, page
    assert answer, page
    return html.unescape(action[1]), answer[1]


@contextmanager
def run_provider(folder: Path) -> Iterator[SamlProvider]:
    """Serve a provider until the block ends."""
    found = SamlProvider(folder)
    thread = threading.Thread(target=found.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        thread.join()
        found.server.server_close()
