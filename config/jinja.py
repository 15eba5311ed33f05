"""Jinja2 environment for charts and the parts that every decision renders (docs/adr/0013)."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.template.defaultfilters import filesizeformat
from jinja2 import Environment, Undefined

from generation.core.urls import build_url
from moderation import taxonomy
from moderation.presenters.covers import render_cover
from moderation.presenters.icons import render_icon
from moderation.presenters.partials import render_category_tree
from moderation.templatetags.desk import age, provider_name


def make_environment(**options: Any) -> Environment:
    # With DEBUG, Django passes DebugUndefined, which prints the name of a missing value into the
    # page.
    found = Environment(**{**options, "undefined": Undefined}, trim_blocks=True, lstrip_blocks=True)
    found.globals |= {
        "category_tree": render_category_tree,
        "icon": render_icon,
        "image_cover": render_cover,
    }
    found.filters |= {
        "age": age,
        "category_names": taxonomy.join_names,
        "datetime": format_datetime,
        "file_size": filesizeformat,
        "isoformat": format_iso,
        "provider_name": provider_name,
        "rounded": round_half_up,
        "time": format_time,
        "timestamp": format_timestamp,
        "url": build_url,  # a filter, because Jinja's calls are slow
    }
    return found


def format_iso(value: datetime) -> str:
    return value.isoformat()


def format_datetime(value: datetime, pattern: str) -> str:
    """Format a datetime in UTC, as everywhere at the desk."""
    return value.astimezone(UTC).strftime(pattern)


def format_timestamp(value: datetime) -> str:
    """Format in UTC as %Y-%m-%d %H:%M:%S, faster than ``format_datetime``."""
    return value.astimezone(UTC).isoformat(" ", "seconds")[:19]


def format_time(value: datetime) -> str:
    return format_timestamp(value)[11:]


def round_half_up(value: Decimal | float | None) -> str:
    """Round half up. Return "" for None."""
    return "" if value is None else str(Decimal(value).quantize(Decimal(1), ROUND_HALF_UP))
