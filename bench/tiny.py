"""Baseline: a minimal htmx page with a key, a POST and an image swap.

``/`` loads each image when it is swapped in, ``/ahead/`` has decoded the next one already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import django_htmx

from bench.picture_bytes import COUNT, make_picture

HTMX = (Path(django_htmx.__file__).parent / "static" / "django_htmx" / "htmx-2.min.js").read_bytes()
PAGE = """<!doctype html><meta charset="utf-8"><title>Tiny</title><script src="/htmx.js"></script>
<meta name="htmx-config" content='{{"defaultSettleDelay": 0}}'>
<body hx-post="{path}next?after=0" hx-trigger="keydown[key=='a'] from:body" hx-target="#panel" hx-swap="outerHTML">
{panel}<script>
const ahead = {ahead};
document.addEventListener("htmx:configRequest", (event) => {{
  event.detail.path = "{path}next?after=" + document.querySelector("#panel").dataset.review;
}});
const load = () => {{
  if (ahead) {{ window.kept = new Image(); kept.src = document.querySelector("#panel").dataset.next; kept.decode(); }}
}};
document.addEventListener("htmx:afterSwap", load);
load();
</script>"""
PANEL = """<div id="panel" data-review="{n}" data-next="/image/{next}.png"><section id="viewer">
<img class="real" src="/image/{n}.png" width="512" height="512" alt=""></section></div>"""


@lru_cache(COUNT)
def _picture(number: int) -> bytes:
    return make_picture(number)


def _answer(path: str, query: str) -> tuple[str, bytes]:
    if path == "/htmx.js":
        return "text/javascript", HTMX
    if path.startswith("/image/"):
        return "image/png", _picture(int(path.removeprefix("/image/").removesuffix(".png")) % COUNT)
    number = int(query.removeprefix("after=") or 0) + 1
    panel = PANEL.format(n=number, next=number + 1)
    if path.endswith("/next"):
        return "text/html", panel.encode()
    return (
        "text/html",
        PAGE.format(path=path, panel=panel, ahead=str(path == "/ahead/").lower()).encode(),
    )


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    kind, body = _answer(environ["PATH_INFO"], environ.get("QUERY_STRING", ""))
    # The same caching as within one page of the desk: no image from another visit.
    age = "private, max-age=600" if kind == "image/png" else "no-store"
    start_response(
        "200 OK",
        [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", age)],
    )
    return [body]
