"""Reading options that a client sent: a partial object, checked whole before anything is done with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue, ValidationError, create_model

from easel_contract.errors import ContractError
from easel_contract.options.base import MAX_ITEMS, OptionGroup
from easel_contract.options.kept import KEPT
from easel_contract.options.render import RenderOptions
from easel_contract.options.table import OPTIONS, Effect, as_json

FIELD = "override_settings"
"""Where a request has its options."""

MAX_PROBLEMS = 20
"""Wrong keys that one answer names."""


_TYPED: dict[str, Any] = {
    key: (tuple[str, ...] if isinstance(default, tuple) else type(default), default)
    for keys in KEPT.values()
    for key, default in keys.items()
}
_KEPT: type[OptionGroup] = create_model("KeptOptions", __base__=OptionGroup, **_TYPED)
"""The options that nothing follows, typed by their defaults."""


@dataclass(frozen=True)
class Checked:
    """Options that may be used as they are: JSON by key. What was left out is told by the warnings."""

    values: dict[str, Any]
    warnings: tuple[str, ...] = ()


def check_options(given: Mapping[str, JsonValue], *, field: str = FIELD, strict: bool = True) -> Checked:
    """Check a partial object of options. Null is the option's default.

    Args:
        field: Dotted path of the object in the body, for messages; empty when it is the body.
        strict: Refuse an unknown key. Otherwise it is left out, with a warning.

    Raises:
        ContractError: 422, names the first wrong key and what would be right, the other wrong keys in `more`.
    """
    if not given:
        return Checked({})
    prefix = f"{field}." if field else ""
    problems: list[ContractError] = []
    warnings: list[str] = []
    plain: dict[str, Any] = {}
    missing: dict[str, Any] = {}
    unknown = [key for key in given if key not in OPTIONS]
    for key in unknown[:MAX_PROBLEMS]:
        if strict:
            problems.append(ContractError(_hint(key), field=prefix + _shown(key), kind="extra_forbidden"))
        else:
            warnings.append(f"{prefix}{_shown(key)}: {_hint(key)}; it is left out")
    for key, value in given.items():
        option = OPTIONS.get(key)
        if option is None or option.effect is Effect.COMPUTED:
            continue
        if option.effect is Effect.OPERATOR:
            if value is not None:
                operator = f"only the operator may change it; {option.description}"
                problems.append(ContractError(operator, field=prefix + key, kind="restricted"))
        elif option.effect is Effect.MISSING:
            if value is not None and value != option.default:
                problems.append(
                    ContractError(
                        f"is not supported by this version of Easel; leave it at {option.default!r}",
                        field=prefix + key,
                        kind="not_supported",
                    )
                )
            missing[key] = option.default
        else:
            plain[key] = value
    values = missing | _defaults_of_null(plain)
    for model in (RenderOptions, _KEPT):
        try:
            found = model.model_validate({key: plain[key] for key in plain if plain[key] is not None})
        except ValidationError as error:
            problems.extend(_problems(error, prefix))
        else:
            values.update((key, as_json(getattr(found, key))) for key in found.model_fields_set)
    problems.extend(_too_many(values, prefix))
    if problems:
        first = problems[0]
        more = problems[1:MAX_PROBLEMS]
        raise ContractError(first.message, field=first.field, kind=first.kind, more=more)
    return Checked(values, tuple(warnings))


def effective(stored: Mapping[str, Any], overrides: Mapping[str, JsonValue] | None = None) -> RenderOptions:
    """The options of one task.

    Args:
        stored: The service's options when the task was accepted; what is not there has its default.
        overrides: The request's `override_settings`, which win. Null is as if it were not given.

    Raises:
        ContractError: as `check_options`, about `overrides`.
    """
    values = dict(stored)
    if overrides:
        asked = {key: value for key, value in overrides.items() if value is not None}
        values.update(check_options(asked).values)
    return RenderOptions.model_validate(values)


def _defaults_of_null(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: OPTIONS[key].default for key, value in given.items() if value is None}


def _shown(key: str) -> str:
    """A client's key as text that any encoding can carry."""
    return key[:100].encode("utf-8", "replace").decode()


def _hint(key: str) -> str:
    close = difflib.get_close_matches(key, OPTIONS, n=3, cutoff=0.75) if len(key) <= 100 else []
    hint = f"; did you mean {' or '.join(close)}?" if close else "; GET /sdapi/v1/options lists them all"
    return f"there is no such option{hint}"


def _problems(error: ValidationError, prefix: str) -> Iterable[ContractError]:
    """pydantic's errors, the values left out: one may be megabytes."""
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        key = str(problem["loc"][0])
        message = problem["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
        yield ContractError(
            f"{message} (its default is {OPTIONS[key].default!r})", field=prefix + key, kind=problem["type"]
        )


def _too_many(values: Mapping[str, Any], prefix: str) -> Iterable[ContractError]:
    for key, value in values.items():
        if isinstance(value, list) and len(value) > MAX_ITEMS:
            yield ContractError(f"at most {MAX_ITEMS} entries", field=prefix + key, kind="too_long")
