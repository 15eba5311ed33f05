"""Images that nginx sends: from the directory, and from a bucket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from django.core.files.base import ContentFile

from generation.core.storage import AssetStorage, DurableFileSystemStorage, asset_name
from generation.views.assets import ASSET_HEADERS
from tests import buckets
from tests.buckets import Moto
from tests.deploy.servers import Nginx
from tests.deploy.test_front import browser

pytestmark = pytest.mark.slow
NAME = asset_name("ab" + "0" * 62, "png")
PIXELS = b"\x89PNG pixels"


class Application:
    """A web server that answers as Loupe does with ASSET_DELIVERY=x-accel."""

    def __init__(self, files: AssetStorage) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith("/internal"):
                    self.send_error(404)
                    return
                self.send_response(200)
                told = {
                    "ResponseContentType": "image/png",
                    "ResponseCacheControl": "private, no-store",
                }
                self.send_header("X-Accel-Redirect", files.find_internal_path(NAME, headers=told))
                for name, value in {**ASSET_HEADERS, "X-Loupe-Delivered": "original"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "image/png")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(params=["directory", "bucket"])
def nginx(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nginx]:
    with Moto() as moto:
        files: AssetStorage
        if request.param == "directory":
            tmp_path.chmod(0o755)
            files, url = DurableFileSystemStorage(location=tmp_path), ""
        else:
            files, url = buckets.make_storage(moto.url), moto.url
        files.save(NAME, ContentFile(PIXELS))
        application = Application(files)
        with Nginx(application.port, assets=tmp_path, bucket=url) as server:
            yield server
        application.server.shutdown()
        application.server.server_close()


def check_headers(answer: httpx.Response) -> None:
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/png"
    for name, value in {**ASSET_HEADERS, "X-Loupe-Delivered": "original"}.items():
        assert answer.headers.get_list(name) == [value]
    leaks = [
        name
        for name in answer.headers
        if name.lower().startswith(("x-amz-id", "x-amz-re", "x-accel"))
    ]
    assert leaks == []


def test_nginx_sends_images_with_the_headers_of_loupe(nginx: Nginx) -> None:
    with browser(nginx) as client:
        answer = client.get("/assets/x/file")
        check_headers(answer)
        assert answer.content == PIXELS
        head = client.head("/assets/x/file")
        assert (head.status_code, head.content) == (200, b"")


def test_clients_cannot_ask_for_the_internal_places(nginx: Nginx) -> None:
    with browser(nginx) as client:
        for path in (f"/internal/assets/{NAME}", f"/internal/bucket/{buckets.BUCKET}/{NAME}"):
            answer = client.get(path)
            assert (answer.status_code, answer.content == PIXELS) == (404, False)
