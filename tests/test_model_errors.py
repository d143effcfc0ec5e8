"""Errors of models are told in plain words: what was found, and what was expected."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from medsize.model_errors import found_and_expected


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    share: float = Field(0, ge=0, le=1)
    name: str = ""
    unit: Literal["mm", "px"] = "mm"

    @field_validator("name")
    @classmethod
    def _is_short(cls, name: str) -> str:
        if len(name) > 5:
            raise ValueError("it is too long. Shorten it.")
        return name


class Whole(BaseModel):
    count: int
    parts: list[Part] = Field([], max_length=2)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "found no key 'count'. Add it."),
        ({"count": 1.5}, "count is 1.5, expected a whole number."),
        ({"count": 1, "parts": [{}] * 3}, "parts is [{}, {}, {}], expected 2 or fewer entries."),
        ({"count": 1, "parts": [1]}, "parts.0 is 1, expected keys with values."),
        ({"count": 1, "parts": [{"share": 1.5}]}, "parts.0.share is 1.5, expected 1 or less."),
        ({"count": 1, "parts": [{"unit": "cm"}]}, "parts.0.unit is 'cm', expected 'mm' or 'px'."),
        ({"count": 1, "parts": [{"name": r"C:\a\b\c"}]}, r"parts.0.name is 'C:\a\b\c': it is too long. Shorten it."),
        ({"count": 1, "parts": [{"shore": 1}]}, "there is no key 'parts.0.shore'. Did you mean 'share'?"),
        ({"count": 1, "parts": [{"weight": 1}]}, "there is no key 'parts.0.weight'. There are: share, name, unit."),
    ],
)
def test_an_error_says_what_was_found_and_expected(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(values)
    (error,) = caught.value.errors()
    assert found_and_expected(error, known=Part.model_fields) == sentence


def test_what_is_not_json_is_told() -> None:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate_json("{")
    assert found_and_expected(caught.value.errors()[0]).startswith("it is not JSON: EOF while parsing")
