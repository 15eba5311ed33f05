"""Command build_icons: write static/icons.svg from the npm package lucide-static."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from moderation.presenters.icons import ICONS, SPRITE


class Command(BaseCommand):
    help = "Writes static/icons.svg from the folder of the npm package lucide-static."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("package", type=Path, help="for example node_modules/lucide-static")

    def handle(self, *args: Any, package: Path, **options: Any) -> None:
        symbols = [build_symbol(name, package / f"icons/{ICONS[name]}.svg") for name in ICONS]
        target = Path(settings.BASE_DIR) / "static" / SPRITE
        target.write_text(
            "\n".join(['<svg xmlns="http://www.w3.org/2000/svg">', *symbols, "</svg>"]) + "\n"
        )
        licence = (package / "LICENSE").read_text()
        target.with_name("icons-LICENSE.txt").write_text(licence)
        self.stdout.write(f"{len(symbols)} icons in {target.name}")


def build_symbol(name: str, drawing: Path) -> str:
    """Return a <symbol>. Raises CommandError for a missing drawing."""
    try:
        svg = drawing.read_text()
    except FileNotFoundError:
        raise CommandError(f"Lucide has no {drawing.name}, named for “{name}”.") from None
    shapes = re.findall(r"<(?:path|circle|rect|line|polyline|polygon|ellipse)\b[^>]*/>", svg)
    inner = "".join(re.sub(r"\s+", " ", shape).replace(" />", "/>") for shape in shapes)
    return f'<symbol id="{name}" viewBox="0 0 24 24">{inner}</symbol>'
