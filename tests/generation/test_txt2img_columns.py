from __future__ import annotations

from typing import Annotated

import pytest
from django.db import models
from pydantic import BaseModel, Field

from generation.models.txt2img_columns import make_column
from generation.wire.fields import Column, walk_fields


class Body(BaseModel):
    plain_flag: Annotated[bool, Column()] = False
    flag_on: Annotated[bool, Column(default=True)] = False
    small: Annotated[int, Column()] = Field(ge=0, le=32767)
    large: Annotated[int, Column()] = Field(ge=0, le=32768)
    negative: Annotated[int, Column()] = Field(ge=-5, le=5)
    unlimited: Annotated[int, Column()]


COLUMNS = {field.name: make_column(field) for field in walk_fields(Body)}


@pytest.mark.parametrize(("name", "default"), [("plain_flag", False), ("flag_on", True)])
def test_flag_has_the_default_of_its_declaration(name: str, default: bool) -> None:
    assert type(COLUMNS[name]) is models.BooleanField
    assert COLUMNS[name].default is default


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("small", models.PositiveSmallIntegerField),
        ("large", models.BigIntegerField),
        ("negative", models.BigIntegerField),
        ("unlimited", models.BigIntegerField),
    ],
)
def test_column_of_a_whole_number_holds_all_permitted_values(name: str, kind: type) -> None:
    assert type(COLUMNS[name]) is kind
