#!/usr/bin/env python
"""Django's command line for Loupe."""

from __future__ import annotations

import os
import sys


def main() -> None:
    if sys.platform != "linux":
        sys.exit(
            f"Loupe cannot start: it runs on Linux only, and this is {sys.platform}. Use a Linux"
            " machine or container."
        )
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        # Asked for here, because Django's own command line would go on without settings and fail
        # over something else. Reading one reads them all.
        _ = settings.configured or settings.DEBUG
    except (ImproperlyConfigured, OSError) as error:
        sys.exit(f"Loupe cannot start: {error}")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
