"""The bodies that go back to clients: A1111's shape, the cloud's shape, and failures in both at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LAST_CODE_TAG = "lastCode"
"""Tag of a result whose status is not 200, as the cloud's queue marks it."""

CANCELLED_STATUS = 499
"""Status of a cancelled task (the client went away, in nginx's numbering)."""


@dataclass(frozen=True)
class Outcome:
    """A result ready for the queue: the body and its HTTP status."""

    data: bytes
    code: int = 200

    @property
    def tags(self) -> dict[str, str]:
        """What marks a failure in the sink; nothing for a success."""
        return {} if self.code == 200 else {LAST_CODE_TAG: str(self.code)}


def code_of(tags: Mapping[str, str]) -> int:
    """The HTTP status that a result's tags tell; 200 when they tell none."""
    try:
        return int(tags.get(LAST_CODE_TAG, "200"))
    except ValueError:
        return 500


def eas_result(
    *,
    id_task: str | None,
    image_url: Sequence[str],
    seeds: Sequence[int],
    total_time: float,
    hostname: str,
    image_mask_url: Sequence[str] = (),
    presigned: Sequence[str] | None = None,
) -> Outcome:
    """A success with `save_dir`: paths instead of pictures.

    Args:
        image_url: Paths as the client sees them, the grid first when there is one.
        seeds: One per image, none for the grid.
        total_time: Seconds.
        presigned: Presigned URLs in the order of `image_url`, when asked for.
    """
    parameters: dict[str, object] = {
        "id_task": id_task,
        "status": 0,
        "image_url": ",".join(image_url),
        "seed": ",".join(str(seed) for seed in seeds),
        "error_msg": "",
        "total_time": total_time,
        "image_mask_url": ",".join(image_mask_url),
    }
    if presigned is not None:
        parameters["image_presigned_url"] = ",".join(presigned)
    return _outcome({"images": [], "parameters": parameters, "info": json.dumps({"hostname": hostname})})


def a1111_result(
    *, images: Sequence[str], parameters: Mapping[str, object], info: Mapping[str, object]
) -> Outcome:
    """A success as A1111 answers it: base64 pictures, the request echoed, `info` as JSON text."""
    return _outcome({"images": list(images), "parameters": dict(parameters), "info": json.dumps(info)})


def error_result(
    *,
    code: int,
    kind: str,
    message: str,
    id_task: str | None = None,
    hostname: str = "",
    total_time: float = 0.0,
) -> Outcome:
    """A failure for clients of either dialect.

    Args:
        code: HTTP status; also `parameters.status`, which is 0 only for a success.
        kind: Name of the error, A1111's `error` key.
        message: What went wrong and what would be right.
    """
    body = {
        "images": [],
        "parameters": {
            "id_task": id_task,
            "status": code,
            "image_url": "",
            "seed": "",
            "error_msg": message,
            "total_time": total_time,
            "image_mask_url": "",
        },
        "info": json.dumps({"hostname": hostname}),
        **envelope(kind, message),
    }
    return _outcome(body, code)


def envelope(kind: str, detail: str) -> dict[str, str]:
    """A1111's error envelope."""
    return {"error": kind, "detail": detail, "body": "", "errors": detail}


def _outcome(body: Mapping[str, object], code: int = 200) -> Outcome:
    return Outcome(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(), code)
