"""WSGI application for web servers: ``loupe_desk.wsgi:application``."""

from __future__ import annotations

from config.wsgi import application

__all__ = ["application"]
