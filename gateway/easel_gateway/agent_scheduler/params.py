"""From a scheduler's request to a task's body, and what of it is kept in the task's record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests import GenerationRequest, parse_request

KINDS = ("txt2img", "img2img")
SAVE_DIR = "outputs"
"""Where pictures go when the request names no `save_dir`: the scheduler's are always stored."""

MAX_PARAMS_BYTES = 256 * 1024
"""Of a request that is kept in its record; from a larger one the long texts (images) are left out."""
MAX_TEXT_CHARS = 4096


@dataclass(frozen=True)
class Job:
    """One task of the scheduler: what it is, its body, and the same for the record."""

    kind: str
    body: bytes
    params: str
    cut: bool
    wanted: GenerationRequest

    @property
    def path(self) -> str:
        """Whose worker it is for."""
        return _path(self.kind)


def read_object(body: bytes | str) -> dict[str, Any]:
    """A JSON object. Raises ContractError (422)."""
    try:
        loaded = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ContractError(f"the body is not JSON: {error}", kind="json_invalid") from None
    if not isinstance(loaded, dict):
        raise ContractError("the body is not a JSON object", kind="model_attributes_type")
    return loaded


def make_job(kind: str, asked: Mapping[str, Any], limits: Limits) -> Job:
    """Check a scheduler's request and make its task: an A1111 request, and ``checkpoint``, ``vae`` and
    ``callback_url`` beside it.

    Raises:
        ContractError: names the field that is wrong.
    """
    params = {name: value for name, value in asked.items() if value is not None}
    if params.pop("callback_url", ""):
        raise ContractError(
            "callbacks are not supported by this version of Easel; leave it out, and ask for the results",
            field="callback_url",
        )
    request = dict(params)
    overrides = request.get("override_settings", {})
    for field, option in (("checkpoint", "sd_model_checkpoint"), ("vae", "sd_vae")):
        value = request.pop(field, "")
        if not isinstance(value, str):
            raise ContractError("is a name", field=field, kind="string_type")
        if value and isinstance(overrides, dict):
            overrides = {**overrides, option: value}
    request["override_settings"] = overrides
    scripts = request.get("alwayson_scripts", {})
    if isinstance(scripts, dict):  # what else it may be is refused by the request's own checks
        request["alwayson_scripts"] = {**scripts, "save_dir": scripts.get("save_dir") or SAVE_DIR}
    request.update(save_images=True, send_images=False)
    body = _to_json(request).encode()
    wanted = parse_request(_path(kind), body, limits)
    if wanted is None:
        raise ValueError(f"{kind!r} is none of {KINDS}")
    kept, cut = _keepable(params)
    return Job(kind, body, kept, cut, wanted)


def _path(kind: str) -> str:
    return f"/sdapi/v1/{kind}"


def _keepable(params: dict[str, Any]) -> tuple[str, bool]:
    text = _to_json(params)
    if len(text) <= MAX_PARAMS_BYTES:
        return text, False
    shorter = _to_json(_without_long_texts(params))
    return (shorter if len(shorter) <= MAX_PARAMS_BYTES else "{}"), True


def _without_long_texts(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT_CHARS else ""
    if isinstance(value, list):
        return [_without_long_texts(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_long_texts(item) for name, item in value.items()}
    return value


def _to_json(value: Any) -> str:
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        raise ContractError("the body has half of a surrogate pair, which is no text") from None
    except (ValueError, RecursionError) as error:
        raise ContractError(f"the body is not JSON: {error}", kind="json_invalid") from None
    return text


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
