"""Numbers as short texts, for axes, labels and tables."""

from __future__ import annotations

NO_DATA = "no data"
# Distances of ticks that are round in minutes, hours and days, and in seconds.
MINUTE_STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 240, 360, 720, 1440, 2880, 7200, 14400)
SECOND_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)


def format_number(value: float) -> str:
    """Format a count or a plain number: 7, 1,240, 0.25."""
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def format_share(value: float) -> str:
    """Format a share of 0 to 1 in per cent: 42 %, 3.1 %."""
    percent = 100 * value
    if float(round(percent, 6)).is_integer() or abs(percent) >= 10:
        return f"{percent:.0f} %"
    return f"{percent:.1f} %"


def format_decimal(value: float) -> str:
    """Format a figure such as kappa with two decimals."""
    return f"{value:.2f}"


def format_usd(value: float) -> str:
    """Format an amount in US dollars."""
    return f"{value:,.0f} USD" if value >= 100 else f"{value:.2f} USD"


def format_seconds(value: float) -> str:
    """Format a duration in seconds, in its best unit: 250 ms, 1.5 s, 40 min."""
    if value < 1:
        return f"{1000 * value:.0f} ms" if value else "0 s"
    if value < 10:
        return f"{value:.1f} s".replace(".0 s", " s")
    return f"{value:.0f} s" if value < 120 else format_minutes(value / 60)


def format_minutes(value: float) -> str:
    """Format a duration in minutes, in its best unit: 12 min, 3 h, 2 d."""
    for size, unit in ((1440, "d"), (60, "h")):
        if value >= size:
            return f"{value / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{value:.0f} min"
