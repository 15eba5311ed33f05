"""The installed form of Loupe: puts its code on the path of this process.

In the wheel the packages config, generation and moderation lie inside this folder, so that
site-packages gets one name only. In a checkout they lie beside it (docs/adr/0041).
"""

from __future__ import annotations

import sys
from pathlib import Path

_folder = Path(__file__).resolve().parent
_home = str(_folder if (_folder / "config").is_dir() else _folder.parent)
if _home not in sys.path:
    sys.path.insert(0, _home)
