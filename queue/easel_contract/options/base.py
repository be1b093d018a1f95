"""What every group of options has in common."""

from __future__ import annotations

import types
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

MAX_TEXT = 2000
"""Characters of one text option; every task carries the options that are set."""

MAX_ITEMS = 200
"""Entries of one list option."""


class OptionGroup(BaseModel):
    """Some options: attribute names are A1111's keys, defaults are A1111's unless said otherwise.

    Frozen: a task renders with the options of the moment at which it was accepted. Lenient as A1111 is:
    numbers may come as text, and a fixed word in any letter case.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        coerce_numbers_to_str=True,
        str_max_length=MAX_TEXT,
        validate_default=False,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _any_letter_case(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str) or info.field_name is None:
            return value
        folded = value.strip().casefold()
        for word in words(cls.model_fields[info.field_name].annotation):
            if word.casefold() == folded:
                return word
        return value


def words(annotation: Any) -> tuple[str, ...]:
    """The fixed words that a field takes; none where it takes any text, or no text."""
    if get_origin(annotation) is Literal:
        return tuple(word for word in get_args(annotation) if isinstance(word, str))
    if isinstance(annotation, types.UnionType):
        return tuple(word for part in get_args(annotation) for word in words(part))
    return ()
