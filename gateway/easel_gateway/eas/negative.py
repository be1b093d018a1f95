"""The negative commit: its form, and what a task that is given up leaves in the sink."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import Request

from easel_contract.results import Outcome, error_result
from easel_gateway.edge.body import read_body
from easel_gateway.errors import ApiError

FORM_TYPE = "application/x-www-form-urlencoded"
SHUTDOWN = "Shutdown"
"""The one code with a meaning of its own: the consumer exits soon, its items have not failed."""
MAX_CODE = 20
MAX_REASON = 1000
"""Characters of a reason that are remembered; the rest is cut off."""
MAX_FORM_BYTES = 64 * 1024

_CODE = re.compile(r"(?:[A-Z][A-Za-z]*(?:\.[A-Z][A-Za-z]*)?|[0-9]+)\Z")


@dataclass(frozen=True)
class Complaint:
    """Why a consumer gives items back; both parts may be empty."""

    code: str = ""
    reason: str = ""

    @property
    def exits(self) -> bool:
        """The consumer exits soon."""
        return self.code == SHUTDOWN

    @property
    def text(self) -> str:
        """One line for people."""
        return ": ".join(part for part in (self.code, self.reason) if part) or "no reason given"

    def outcome(self) -> Outcome:
        """The result of a task that is given up for this.

        Its status is the code when that is a failure's HTTP status (400 to 599), else 500: clients read a
        result without ``lastCode``, or with 200, as a success.
        """
        is_status = self.code.isdigit() and len(self.code) == 3 and self.code[0] in "45"
        code = int(self.code) if is_status else 500
        return error_result(code=code, kind="NegativeCommit", message=f"Given up: {self.text}")


async def read_complaint(request: Request) -> Complaint:
    """``_code_`` and ``_reason_`` of the form; either may be missing.

    Raises:
        ApiError: 400 for a code of another shape or a broken form, 413 for a large one, 415 for another type.
    """
    body = await read_body(request, MAX_FORM_BYTES, setting="")
    content_type = request.headers.get("content-type", FORM_TYPE).partition(";")[0].strip().lower()
    if body and content_type != FORM_TYPE:
        raise ApiError(415, f"Content-Type: a negative commit is a form, {FORM_TYPE}, not {content_type!r}")
    try:
        pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, errors="replace", max_num_fields=20)
    except ValueError as error:
        raise ApiError(400, "form: only _code_ and _reason_ are expected") from error
    form = dict(pairs)
    code = form.get("_code_", "")
    if code and (len(code) > MAX_CODE or not _CODE.match(code)):
        raise ApiError(
            400,
            f"_code_: use capitalised words with at most one dot (Shutdown, Model.NotFound) or digits only, "
            f"at most {MAX_CODE} characters, not {code[:50]!r}",
        )
    return Complaint(code, form.get("_reason_", "")[:MAX_REASON])
