"""The modules that a JavaScript entry point imports, so that a page can load them at once."""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path

from django.contrib.staticfiles import finders

# The one form that prettier writes.
_IMPORT = re.compile(r'^(?:import|.* from) "(\.[^"]+)";$', re.MULTILINE)


@cache
def list_modules(entry: str) -> tuple[str, ...]:
    """Return the static names of the entry point and all modules below it, the entry point first.

    Raises FileNotFoundError for a name that is no static file.
    """
    names = [entry]
    for name in names:  # grows while it is read
        imported = (
            posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
            for path in _IMPORT.findall(_read(name))
        )
        names += [path for path in dict.fromkeys(imported) if path not in names]
    return tuple(names)


def _read(name: str) -> str:
    path = finders.find(name)
    if not isinstance(path, str):
        raise FileNotFoundError(name)
    return Path(path).read_text(encoding="utf-8")
