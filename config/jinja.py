"""The second template language, for the parts that are rendered on every decision: docs/adr/0013 says why."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from jinja2 import Environment, Undefined, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension
from jinja2.lexer import TOKEN_DATA, Token, TokenStream

from generation.addresses import address
from moderation.screen.parts import category_tree
from moderation.templatetags.desk import age, provider_name

try:
    # What its ``escape`` does, without making a Markup of it.
    from markupsafe._speedups import _escape_inner as escape_text
except ImportError:
    from html import escape as escape_text


def environment(**options: Any) -> Environment:
    # Under DEBUG Django would have the name of a missing value written out, and it would be sent as somebody's note.
    found = Environment(**{**options, "undefined": Undefined}, trim_blocks=True, lstrip_blocks=True)
    if not found.auto_reload:  # which would not see that a part has changed
        found.add_extension(PartsInPlace)
    found.code_generator_class = PlainStrings
    found.extend(escaped=escaped)
    found.add_extension(PlainMarkup)
    found.globals |= {"category_tree": category_tree}
    found.filters |= {
        "age": age,
        "clock": clock,
        "file_size": file_size,
        "iso": iso,
        "moment": moment,
        "provider_name": provider_name,
        "short": short,
        "stamp": stamp,
        "url": address,  # a filter, because Jinja looks hard at every call
        "whole": whole,
    }
    return found


class PlainStrings(CodeGenerator):
    """Escape what a template puts out into plain strings. Jinja's own ``escape`` makes a Markup of each of a panel's
    hundred, of which nothing is asked but to be joined; that took a fifteenth of a decision."""

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.autoescape and not frame.eval_ctx.volatile and finalize.src is None:
            self.write("environment.escaped(")
        else:
            super()._output_child_pre(node, frame, finalize)


def escaped(value: Any) -> str:
    """As ``markupsafe.escape``."""
    if type(value) is str:
        return escape_text(value)
    return value.__html__() if hasattr(value, "__html__") else escape_text(str(value))


class PlainMarkup(Extension):
    """Write what a template says beyond ASCII as references: one minus sign would have the whole answer kept, joined
    and encoded at twice its width."""

    def filter_stream(self, stream: TokenStream) -> Iterable[Token]:
        for token in stream:
            if token.type == TOKEN_DATA:
                token = token._replace(value=token.value.encode("ascii", "xmlcharrefreplace").decode())
            yield token


class PartsInPlace(Extension):
    """Put parts where they are included before anything is compiled: looking names up anew for each of them costs a
    sixth of a panel."""

    _INCLUDE = re.compile(r'{% include "([^"]+)" %}')

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return self._INCLUDE.sub(self._part, source)

    def _part(self, found: re.Match[str]) -> str:
        assert self.environment.loader is not None
        source, filename, _ = self.environment.loader.get_source(self.environment, found[1])
        return self.preprocess(source.removesuffix("\n"), found[1], filename)


def file_size(size: int) -> str:
    """As Django's ``filesizeformat`` says it in English; asking for the language took a fortieth of a decision."""
    value, unit = float(size), "bytes"
    for bigger in ("KB", "MB", "GB"):
        if value < 1024:
            break
        value, unit = value / 1024, bigger
    return f"{value:.1f} {unit}" if unit != "bytes" else f"{size} byte{'' if size == 1 else 's'}"


def iso(value: datetime) -> str:
    return value.isoformat()


def moment(value: datetime, pattern: str) -> str:
    """In UTC, as everywhere at the desk."""
    return value.astimezone(UTC).strftime(pattern)


def stamp(value: datetime) -> str:
    """As ``moment`` with %Y-%m-%d %H:%M:%S, in a fraction of its time."""
    return value.astimezone(UTC).isoformat(" ", "seconds")[:19]


def clock(value: datetime) -> str:
    return stamp(value)[11:]


def short(value: Decimal | float) -> str:
    """With one decimal where there is any."""
    return f"{value:.1f}".removesuffix(".0")


def whole(value: Decimal | float | None) -> str:
    """Rounded as people round; nothing for nothing."""
    return "" if value is None else str(Decimal(value).quantize(Decimal(1), ROUND_HALF_UP))
