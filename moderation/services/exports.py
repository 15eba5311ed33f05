"""Export decisions as CSV: streamed, filtered, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import functools
import io
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, time
from typing import Any, NamedTuple

from django.core.exceptions import NON_FIELD_ERRORS
from django.db import connections
from django.db.models import Case, F, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.forms import Form

from moderation import taxonomy
from moderation.models import Decision, NamedCategory, PolicyActivation
from moderation.models.decisions import DecisionQuerySet
from moderation.models.reviews import NO_FINDINGS, WITHOUT_CATEGORY

# Characters that a spreadsheet may take for the start of a formula or command (OWASP, "CSV
# Injection"; ASVS 5.0 1.2.10), at the start of a cell or after characters that it strips or hides.
TRIGGERS = frozenset("=+-@|%")
LINE_TRIGGERS = ("\t", "\r", "\n")
# The only trigger look-alike whose compatibility form (NFKC: full-width, small, superscript) is not
# ASCII.
MINUS = "\u2212"
# Invisible characters that Unicode classifies as letters or symbols: four Hangul fillers and a
# Braille pattern.
BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
ASSET_IDS_MAX = 1000  # maximum number of asset ids in a query

# Columns are read as raw values and converted by kind: creating a model instance per row took most
# of an export's time. Kinds: text (untrusted, escaped against formulas), slugs (JSON list, joined),
# names (the same as display names), finding (slug or one of our phrases, as a display name), code
# (trusted, unchanged), number, uuid, timestamp, one and two (decimal places), flag (yes or no).
Column = tuple[str, str, str]  # header, field path of Decision, kind
COLUMNS: tuple[Column, ...] = (
    ("sequence", "sequence", "number"),
    ("decision", "uuid", "uuid"),
    ("decided_at", "created_at", "timestamp"),
    ("verdict", "verdict", "code"),
    ("categories", "categories", "slugs"),
    ("category_names", "categories", "names"),
    ("note", "note", "text"),
    ("reviewer", "reviewer_name", "text"),
    ("by_policy", "by_policy", "flag"),
    ("policy_version", "policy__version", "number"),
    ("policy_in_force", "in_force", "number"),
    ("seconds", "seconds", "one"),
    ("batch", "batch", "uuid"),
    ("second_opinion_on", "second_of__uuid", "uuid"),
    ("reverses", "reverses__uuid", "uuid"),
    ("reversed_by", "reversed_by__uuid", "uuid"),
    ("asset", "review__asset__uuid", "uuid"),
    ("asset_sha256", "review__asset__sha256", "code"),
    ("source", "review__asset__source", "code"),
    ("file_name", "review__asset__original_name", "text"),
    ("headline", "review__top_category", "text"),
    ("finding", "finding", "finding"),
    ("headline_confidence", "review__top_confidence", "two"),
    ("why", "review__reason", "text"),
    ("request", "review__asset__request__uuid", "uuid"),
    ("provider", "review__asset__request__provider", "text"),
    ("model", "review__asset__request__model_name", "text"),
    ("seed", "seed", "number"),
    ("prompt", "review__asset__request__prompt", "text"),
    ("negative_prompt", "review__asset__request__negative_prompt", "text"),
    ("hash", "hash", "code"),
)
# The image's own seed if the provider reports it: siblings share their request's.
SEED = Coalesce("review__asset__seed", "review__asset__request__seed")
# For decisions older than the column, look up the activation at that time.
IN_FORCE = Coalesce(
    "policy_in_force__version",
    Subquery(
        PolicyActivation.objects.filter(created_at__lte=OuterRef("created_at"))
        .order_by("-created_at", "-pk")
        .values("policy__version")[:1]
    ),
)
# Like ``Review.top_category_name``, but with the slug if there is one.
FINDING = Case(
    When(~Q(review__top_category=""), then=F("review__top_category")),
    When(review__top_confidence__isnull=False, then=Value("NSFW score")),
    *(When(review__risk=risk, then=Value(words)) for risk, words in WITHOUT_CATEGORY.items()),
    default=Value(NO_FINDINGS),
)
CHUNK_ROWS = 500  # rows read and sent at a time
Converter = Callable[[Any], Any]


def escape_cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula, by prefixing an apostrophe if needed."""
    if text[:1].isalnum() and text[0] not in BLANKS and "\0" not in text:
        return text
    text = text.replace("\0", "")
    return (
        f"'{text}" if text.startswith(LINE_TRIGGERS) or _first_visible(text) in TRIGGERS else text
    )


def _first_visible(text: str) -> str:
    """Return the first visible character in its ASCII form.

    Controls, formats, separators, marks and blanks are invisible.
    """
    first = next(
        (one for one in text if one not in BLANKS and unicodedata.category(one)[0] not in "CZM"), ""
    )
    return unicodedata.normalize("NFKC", first).replace(MINUS, "-")[:1]


@functools.lru_cache(maxsize=4096)
def _join_slugs(stored: str) -> str:
    return escape_cell(" ".join(json.loads(stored)))


@functools.lru_cache(maxsize=4096)
def _join_names(stored: str) -> str:
    return escape_cell(taxonomy.join_names(json.loads(stored)))


# By database driver: psycopg returns Python types; SQLite returns text, floats and datetimes.
CONVERTERS: dict[str, Converter] = {
    "text": escape_cell,
    "slugs": _join_slugs,
    "names": _join_names,
    "finding": lambda slug: escape_cell(taxonomy.join_names([slug])),
    "flag": lambda value: "yes" if value else "no",
    "timestamp": lambda value: value.astimezone(UTC).isoformat(timespec="milliseconds"),
}
SQLITE_CONVERTERS: dict[str, Converter] = {
    **CONVERTERS,
    "uuid": lambda hex: f"{hex[:8]}-{hex[8:12]}-{hex[12:16]}-{hex[16:20]}-{hex[20:]}",
    "one": lambda value: f"{value:.1f}",
    "two": lambda value: f"{value:.2f}",
}


def filter_decisions(filters: dict[str, Any]) -> DecisionQuerySet:
    """Return decisions that match the cleaned data of ``DecisionFilterForm``.

    Absent and empty filters match everything.
    """
    rows = Decision.objects.all()
    start, end = filters.get("start"), filters.get("end")
    if start:
        rows = rows.filter(created_at__gte=datetime.combine(start, time.min, tzinfo=UTC))
    if end:
        rows = rows.filter(created_at__lte=datetime.combine(end, time.max, tzinfo=UTC))
    if verdict := filters.get("verdict"):
        rows = rows.filter(verdict=verdict)
    if category := filters.get("category"):
        rows = _filter_by_category(rows, category)
    if reviewer := filters.get("reviewer"):
        rows = rows.filter(reviewer_name=reviewer)
    if by := filters.get("by"):
        rows = rows.filter(by_policy=by == "policy")
    return rows


def _filter_by_category(rows: DecisionQuerySet, category: str) -> DecisionQuerySet:
    """Return decisions that name a category; an L1 category includes its L2 categories."""
    slugs = [category, *(child.slug for child in taxonomy.list_children(category))]
    named = NamedCategory.objects.filter(category__in=slugs).values_list("asset_id", flat=True)
    few = list(named[: ASSET_IDS_MAX + 1])
    if len(few) <= ASSET_IDS_MAX:
        # Narrow by index first: the text search below would read the whole record for a few rows.
        rows = rows.filter(review__asset__in=few)
    # Stored as a JSON list of slugs: a slug starts after a quote, and an L2 continues with a dot.
    exact = rows.filter(categories__icontains=f'"{category}"')
    return exact | rows.filter(categories__icontains=f'"{category}.') if len(slugs) > 1 else exact


def describe_errors(form: Form, *, prefix: str = "") -> str:
    """Return the errors of a filter form as one line."""
    return "; ".join(
        (
            " ".join(map(str, errors))
            if name == NON_FIELD_ERRORS
            else f"{prefix}{name}: {' '.join(map(str, errors))}"
        )
        for name, errors in form.errors.items()
    )


class CsvChunk(NamedTuple):
    text: str
    rows: int


def iter_csv(decisions: DecisionQuerySet) -> Iterator[CsvChunk]:
    """Yield the header, then the rows, oldest first, in chunks that limit memory use."""
    # The byte order mark tells spreadsheets that this is UTF-8.
    yield CsvChunk("\ufeff" + _format_csv([[name for name, _, _ in COLUMNS]]), 0)
    rows = (
        decisions.annotate(seed=SEED, in_force=IN_FORCE, finding=FINDING)
        .order_by("sequence")
        .values_list(*(path for _, path, _ in COLUMNS))
    )
    steps = SQLITE_CONVERTERS if connections[rows.db].vendor == "sqlite" else CONVERTERS
    work = [(at, steps[kind]) for at, (_, _, kind) in enumerate(COLUMNS) if kind in steps]
    # Execute the compiled query directly: the queryset's value converters cost more than all the
    # rest here.
    compiler = rows.query.get_compiler(rows.db)
    # Like QuerySet.iterator: behind a connection pooler, a server-side cursor ends with its
    # transaction.
    has_server_cursors = not connections[rows.db].settings_dict.get("DISABLE_SERVER_SIDE_CURSORS")
    pieces = compiler.execute_sql(chunked_fetch=has_server_cursors, chunk_size=CHUNK_ROWS)
    for rows_read in pieces or ():
        yield CsvChunk(_format_csv([_convert_row(row, work) for row in rows_read]), len(rows_read))


def _convert_row(row: Sequence[Any], work: Sequence[tuple[int, Converter]]) -> list[Any]:
    cells = list(row)
    for at, step in work:
        value = cells[at]
        if value is not None:
            cells[at] = step(value)
    return cells


def _format_csv(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
