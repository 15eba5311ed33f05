"""The OpenAPI document at /api/openapi.json, and the same as a page at /api/docs.

Both are public: they are the same for every installation of this version, but for the base URL.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from moderation.api.openapi.operations import (
    COMMON,
    FORMATS,
    OPERATIONS,
    Format,
    Operation,
    Parameter,
    Schema,
)

SECURITY: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer <key>"},
    "xApiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The key as user name, and any secret.",
    },
    "raw": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "The key alone.",
    },
}
REFERENCE = "#/components/schemas/"


@login_not_required
@require_safe
def document(request: HttpRequest) -> HttpResponse:
    return JsonResponse(
        build(settings.PUBLIC_URL), json_dumps_params={"ensure_ascii": False, "indent": 1}
    )


@login_not_required
@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    sections = [(form, [_shown(op) for op in OPERATIONS if op.format is form]) for form in FORMATS]
    return render(
        request, "moderation/api_docs.html", {"sections": sections, "url": settings.PUBLIC_URL}
    )


@functools.lru_cache(maxsize=4)
def build(url: str) -> Schema:
    """Return the document for a base URL."""
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Loupe",
            "version": "1",
            "description": (
                "Generated images, but only those that passed. In the formats of Novita, nano-gpt"
                " and Scenario, for their own clients: change the base address and the key."
            ),
        },
        "servers": [{"url": url}],
        "tags": [{"name": form.slug, "description": form.about} for form in FORMATS],
        "security": [{name: []} for name in SECURITY],
        "paths": paths,
        "components": {"securitySchemes": SECURITY, "schemas": _schemas()},
    }


# --- Operations ---
def _operation(operation: Operation) -> Schema:
    made: Schema = {
        "operationId": operation.id,
        "tags": [operation.format.slug],
        "summary": operation.summary,
        "description": _about(operation),
        "parameters": [
            {
                "name": p.name,
                "in": p.where,
                "required": p.required,
                "description": p.about,
                "schema": p.schema,
            }
            for p in _list_parameters(operation)
        ],
        "responses": {"200": _success(operation)} | _refusals(operation),
    }
    if operation.scope is None:
        made["security"] = []
    if operation.body is not None:
        made["requestBody"] = {"required": True, "content": _json(operation.format, operation.body)}
    return made


def _about(operation: Operation) -> str:
    return operation.about + (
        f" Needs a key with the scope {operation.scope}." if operation.scope else ""
    )


def _success(operation: Operation) -> Schema:
    if operation.reply is None:
        return {
            "description": "The image.",
            "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
        }
    made: Schema = {"description": "Done.", "content": _json(operation.format, operation.reply)}
    if operation.headers:
        made["headers"] = {
            name: {"description": about, "schema": {"type": "string"}}
            for name, about in operation.headers.items()
        }
    return made


def _refusals(operation: Operation) -> dict[str, Schema]:
    content = _json(operation.format, operation.format.error)
    if operation.scope is None:
        xml: Schema = {"application/xml": {"schema": {"type": "string"}}}
        return {
            "403": {"description": "Forged, expired, or no longer approved.", "content": xml},
            "404": {
                "description": "The file is missing, or this is not the URL of an image.",
                "content": xml | content,
            },
        }
    return {
        str(status): {"description": " ".join(reasons), "content": content}
        for status, reasons in sorted(_reasons(operation).items())
    }


def _reasons(operation: Operation) -> dict[int, list[str]]:
    """Return the reasons of errors by status; one status may have several."""
    found: dict[int, list[str]] = {}
    for refusal, about in {**COMMON, **(operation.refusals or {})}.items():
        found.setdefault(operation.format.status(refusal), []).append(about)
    return found


def _json(form: Format, model: type[BaseModel]) -> Schema:
    return {"application/json": {"schema": {"$ref": f"{REFERENCE}{form.prefix}{model.__name__}"}}}


# --- Schemas ---
class BodySchema(GenerateJsonSchema):
    """Schemas without titles and docstrings, and with numbers for decimals."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        found = super().model_schema(schema)
        return {key: part for key, part in found.items() if key not in ("title", "description")}

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> Schema:
        return {"type": "number"}


class ReplySchema(BodySchema):
    """Schemas of replies that leave out absent fields: nothing in them is null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Schema:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Schema:
        found = super().default_schema(schema)
        if found.get("default", "") is None:
            del found["default"]
        return found


def _list_parameters(operation: Operation) -> list[Parameter]:
    """Return the parameters of an operation, with those of its query model."""
    if operation.query is None:
        return list(operation.parameters)
    schema = operation.query.model_json_schema(schema_generator=ReplySchema)
    found = [
        Parameter(name=name, about=part.pop("description"), schema=part)
        for name, part in schema["properties"].items()
    ]
    return [*operation.parameters, *found]


@functools.lru_cache(maxsize=1)
def _schemas() -> dict[str, Schema]:
    """Return every model that an operation names, and the models in it, by prefixed name."""
    found: dict[str, Schema] = {}
    for operation in OPERATIONS:
        form = operation.format
        reply_schema = BodySchema if form.sends_null else ReplySchema
        for model, generator in (
            (operation.body, BodySchema),
            (operation.reply, reply_schema),
            (form.error, reply_schema),
        ):
            if model is None:
                continue
            schema = model.model_json_schema(
                ref_template=f"{REFERENCE}{form.prefix}{{model}}", schema_generator=generator
            )
            parts = {**schema.pop("$defs", {}), model.__name__: schema}
            found |= {form.prefix + name: part for name, part in parts.items()}
    return dict(sorted(found.items()))


# --- The page ---
@dataclass(frozen=True, slots=True)
class Field:
    """A line in a table of fields."""

    name: str
    depth: int
    kind: str
    demand: str
    required: bool
    about: str


@dataclass(frozen=True, slots=True)
class Shown:
    """An operation on the page."""

    operation: Operation
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    reply: tuple[Field, ...]
    refusals: tuple[tuple[int, list[str]], ...]
    example: str


def _shown(operation: Operation) -> Shown:
    prefix = operation.format.prefix
    parameters = tuple(
        Field(p.name, 0, f"{_kind(p.schema)} in {p.where}", _demand(p.schema), p.required, p.about)
        for p in _list_parameters(operation)
    )
    return Shown(
        operation,
        parameters,
        tuple(_fields(f"{prefix}{operation.body.__name__}")) if operation.body else (),
        tuple(_fields(f"{prefix}{operation.reply.__name__}")) if operation.reply else (),
        tuple(sorted(_reasons(operation).items())) if operation.scope else (),
        operation.example.replace("$LOUPE", settings.PUBLIC_URL),
    )


def _fields(name: str, depth: int = 0) -> Iterator[Field]:
    """Yield the fields of a schema, each followed by those of the objects in it."""
    schema = _schemas()[name]
    required = schema.get("required", ())
    for field, part in schema.get("properties", {}).items():
        yield Field(
            field, depth, _kind(part), _demand(part), field in required, part.get("description", "")
        )
        inner = _inner(part)
        if inner:
            yield from _fields(inner, depth + 1)


def _choices(part: Schema) -> list[Schema]:
    return [choice for choice in part.get("anyOf", [part]) if choice.get("type") != "null"]


def _inner(part: Schema) -> str:
    """Return the name of the schema of a field's object or of its list's entries; "" if none."""
    for choice in _choices(part):
        reference = choice.get("$ref") or (choice.get("items") or {}).get("$ref", "")
        if reference:
            return str(reference).removeprefix(REFERENCE)
    return ""


def _kind(part: Schema) -> str:
    return " or ".join(dict.fromkeys(_one_kind(choice) for choice in _choices(part)))


def _one_kind(choice: Schema) -> str:
    if "$ref" in choice:
        return "object"
    kind = str(choice.get("type", "any"))
    if kind == "array":
        return f"list of {_one_kind(choice.get('items') or {})}s"
    return "date" if choice.get("format") == "date-time" else kind


def _demand(part: Schema) -> str:
    """Return range, length, choices and default in words."""
    words: list[str] = []
    for choice in _choices(part):
        low, high = choice.get("minimum"), choice.get("maximum")
        if low is not None or high is not None:
            # 2^63 - 1 is the limit of the format, not of the meaning.
            words.append(f"{low} to {high}" if high is not None and high < 2**53 else f"from {low}")
        words += _lengths(choice)
        if options := choice.get("enum") or ([choice["const"]] if "const" in choice else []):
            words.append(", ".join(str(option) for option in options))
    if part.get("default") not in (None, "", [], {}):
        default = part["default"]
        words.append(f"default {str(default).lower() if default in (True, False) else default}")
    return "; ".join(words)


def _lengths(choice: Mapping[str, Any]) -> Iterator[str]:
    for low, high, unit in (
        ("minLength", "maxLength", "characters"),
        ("minItems", "maxItems", "entries"),
    ):
        if choice.get(high) is not None:
            yield f"{choice.get(low, 0)} to {choice[high]} {unit}"
        elif choice.get(low):
            yield "not empty"
