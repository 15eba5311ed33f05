"""Preparation of ``DATA_DIR`` for a first start: ``python -m config.bootstrap``.

Runs before Django reads its settings.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
FIRST_SETTINGS = """\
# Made by `make run` for trying Loupe on this machine. Environment variables win over this file.
DEBUG=1
SECRET_KEY={secret_key}
# The password of the demo's log-ins. Changing it changes theirs at the next `manage.py demo`.
DEMO_PASSWORD={demo_password}
"""


def prepare_data_dir(data_dir: Path) -> Path:
    """Create the folder and, once, its settings file, readable only by the owner."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / "settings.env"
    if path.exists():
        return path
    draft = data_dir / f".settings.{secrets.token_hex(8)}"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(
            FIRST_SETTINGS.format(
                secret_key=secrets.token_urlsafe(50), demo_password=secrets.token_urlsafe(9)
            )
        )
    try:
        # Fails if another process was first; a partial file never gets the final name.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path


if __name__ == "__main__":
    folder = Path(os.environ.get("DATA_DIR", "").strip() or BASE_DIR / "var").resolve()
    try:
        prepare_data_dir(folder)
    except OSError as error:
        sys.exit(
            f"Loupe cannot start: {folder} cannot be written to ({error.strerror}). Choose another"
            " DATA_DIR."
        )
