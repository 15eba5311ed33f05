#!/usr/bin/env python
"""Django's command line for Loupe."""

from __future__ import annotations

from config.command_line import main

if __name__ == "__main__":
    main()
