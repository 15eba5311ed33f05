"""Icons of the desk: one sprite, drawn from the symbols of Lucide."""

from __future__ import annotations

from functools import lru_cache

from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

# {name at Loupe: name in Lucide}. After a change, run `make icons`.
ICONS = {
    "activity": "activity",
    "alert": "triangle-alert",
    "arrow-down": "arrow-down",
    "arrow-left": "arrow-left",
    "arrow-right": "arrow-right",
    "arrow-up": "arrow-up",
    "arrow-up-right": "arrow-up-right",
    "ban": "ban",
    "bell": "bell",
    "calendar": "calendar",
    "chart": "chart-column",
    "chart-line": "chart-line",
    "check": "check",
    "chevron-down": "chevron-down",
    "chevron-left": "chevron-left",
    "chevron-right": "chevron-right",
    "chevron-up": "chevron-up",
    "circle": "circle",
    "circle-check": "circle-check",
    "circle-x": "circle-x",
    "clock": "clock",
    "code": "code",
    "coins": "coins",
    "command": "command",
    "copy": "copy",
    "download": "download",
    "external-link": "external-link",
    "eye": "eye",
    "eye-off": "eye-off",
    "file-text": "file-text",
    "filter": "funnel",
    "fingerprint": "fingerprint",
    "flag": "flag",
    "flask": "flask-conical",
    "folder": "folder-open",
    "git-compare": "git-compare",
    "hash": "hash",
    "history": "history",
    "home": "house",
    "image": "image",
    "images": "images",
    "info": "info",
    "key": "key-round",
    "keyboard": "keyboard",
    "layers": "layers",
    "link": "link",
    "lock": "lock",
    "log-out": "log-out",
    "mail": "mail",
    "menu": "menu",
    "minus": "minus",
    "monitor": "monitor",
    "moon": "moon",
    "more-horizontal": "ellipsis",
    "pause": "pause",
    "pencil": "pencil",
    "play": "play",
    "plus": "plus",
    "printer": "printer",
    "queue": "inbox",
    "refresh": "refresh-cw",
    "scale": "scale",
    "search": "search",
    "send": "send",
    "server": "server",
    "settings": "settings",
    "shield": "shield",
    "shield-check": "shield-check",
    "sliders": "sliders-horizontal",
    "sun": "sun",
    "target": "target",
    "trash": "trash-2",
    "undo": "undo-2",
    "upload": "upload",
    "user": "user",
    "user-plus": "user-plus",
    "users": "users",
    "webhook": "webhook",
    "x": "x",
}
SPRITE = "icons.svg"


class UnknownIconError(LookupError):
    """No such name in ``ICONS``."""


@lru_cache(maxsize=256)
def render_icon(name: str) -> SafeString:
    """Render an icon beside a word; screen readers skip it. Raises UnknownIconError."""
    if name not in ICONS:
        raise UnknownIconError(f"No icon is called “{name}”. docs/design.md lists the names.")
    return format_html(
        '<svg class="icon" viewBox="0 0 24 24" width="16" height="16" aria-hidden="true">'
        '<use href="{}#{}"/></svg>',
        static(SPRITE),
        name,
    )
