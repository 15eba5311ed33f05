"""Runner of a module of this package inside Loupe: ``python -m bench.inside seed 1000``.

The environment configures Loupe.
"""

from __future__ import annotations

import importlib
import sys

import django

if __name__ == "__main__":
    django.setup()
    importlib.import_module(f"bench.{sys.argv[1]}").main(*sys.argv[2:])
