"""The columns of a txt2img request, one for each field that ``generation.wire.txt2img`` stores."""

from __future__ import annotations

from typing import Any

from django.db import models

from generation.wire import field_map
from generation.wire.fields import WireField

SMALL_MAX = 32767  # of a PositiveSmallIntegerField


class Txt2ImgColumns(models.Model):
    """An abstract model with the columns below.

    The annotations are for the type checker and name only columns that code reads. A new column
    needs none.
    """

    model_name: str
    prompt: str
    negative_prompt: str
    width: int
    height: int
    image_num: int
    steps: int
    guidance_scale: float
    sampler_name: str
    seed: int
    enable_nsfw_detection: bool
    nsfw_detection_level: int

    class Meta:
        abstract = True


def make_column(field: WireField) -> models.Field[Any, Any]:
    """Return the column of a field. A field that a body may leave out can be empty."""
    column = field.column
    assert column is not None
    common: dict[str, Any] = {"verbose_name": column.verbose_name, "help_text": column.help_text}
    optional: dict[str, Any] = {}
    if not (field.is_required or column.always_sent):
        optional = {"null": True, "blank": True}
    if column.default is not None:
        common["default"] = column.default
    kind = type(field.choices[0]) if field.choices else field.kind
    if kind is bool:
        common.setdefault("default", False)
        return models.BooleanField(**common)
    if kind is float:
        return models.FloatField(**common, **optional)
    if kind is int:
        low, high = field.limits or (0, SMALL_MAX + 1)
        is_small = low >= 0 and high <= SMALL_MAX
        number = models.PositiveSmallIntegerField if is_small else models.BigIntegerField
        return number(**common, **optional)
    if kind is str and field.is_long_text:
        return models.TextField(blank=bool(optional), **common)
    if kind is str:
        return models.CharField(max_length=column.length, blank=bool(optional), **common)
    if field.item_model:
        return models.JSONField(default=list, blank=True, **common)
    return models.JSONField(**common, **optional)


for _name, _field in field_map.FIELDS.items():
    Txt2ImgColumns.add_to_class(_name, make_column(_field))
