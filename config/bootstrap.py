"""Preparation of ``DATA_DIR`` for a first start: ``python -m config.bootstrap``.

Runs before Django reads its settings.
"""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

BASE_DIR = Path(__file__).resolve().parent.parent
FIRST_SETTINGS = """\
# Made by `make run` for trying Loupe on this machine. Environment variables win over this file.
DEBUG=1
SECRET_KEY={secret_key}
# Signs the record. Without it the record cannot be verified.
RECORD_KEY={record_key}
# The password of the demo's log-ins. Changing it changes theirs at the next `manage.py demo`.
DEMO_PASSWORD={demo_password}
"""


def prepare_data_dir(data_dir: Path) -> Path:
    """Create the folder and, once, its settings file, readable only by the owner."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / "settings.env"
    if not path.exists():
        # Linking never replaces a file, and never shows one that is half written.
        with NamedTemporaryFile("w", dir=data_dir) as draft, suppress(FileExistsError):
            draft.write(
                FIRST_SETTINGS.format(
                    secret_key=secrets.token_urlsafe(50),
                    record_key=secrets.token_urlsafe(50),
                    demo_password=secrets.token_urlsafe(9),
                )
            )
            draft.flush()
            os.link(draft.name, path)
    _add_record_key(path)
    return path


def _add_record_key(path: Path) -> None:
    """Add a key of the record to a file of an earlier version."""
    text = path.read_text()
    if not os.environ.get("RECORD_KEY") and "\nRECORD_KEY=" not in f"\n{text}":
        with path.open("a") as file:
            file.write(f"\nRECORD_KEY={secrets.token_urlsafe(50)}\n")


if __name__ == "__main__":
    folder = Path(os.environ.get("DATA_DIR", "").strip() or BASE_DIR / "var").resolve()
    try:
        prepare_data_dir(folder)
    except OSError as error:
        sys.exit(
            f"Loupe cannot start: {folder} cannot be written to ({error.strerror}). Choose another"
            " DATA_DIR."
        )
