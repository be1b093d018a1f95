"""What went wrong with a task, without the exception.

An exception holds its traceback, which holds the frames, which hold tensors; a `Failure` is plain text,
so that device memory is free again before the next task begins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from easel_contract.errors import ContractError
from easel_contract.results import CANCELLED_STATUS
from easel_worker.job import JobStoppedError, StopReason

MAX_MESSAGE = 2000
"""Characters of a message that are kept: an exception may carry a whole request."""


@dataclass(frozen=True)
class Failure:
    """Why there is no output, and what the queue should do about it."""

    code: int
    """HTTP-like status, told to the client as the tag `lastCode`."""
    message: str
    error: str
    """Name of the error's class, for A1111's error envelope."""
    retry: bool = True
    """Whether another delivery could help: false for what is wrong with the request itself."""
    stop: StopReason | None = None
    out_of_memory: bool = False

    def __post_init__(self) -> None:
        # It may quote the request, which may hold half a surrogate pair that nothing could store or send.
        message = self.message[:MAX_MESSAGE].encode("utf-8", "backslashreplace").decode()
        object.__setattr__(self, "message", message)

    def within(self, folder: Path) -> Failure:
        """The same with paths below `folder` told from there: clients need not know where a server keeps
        its data."""
        message = self.message
        for one in {folder.absolute(), folder.resolve()}:
            message = message.replace(f"{one}/", "")
        return replace(self, message=message)


def failure_of(error: Exception) -> Failure:
    """The usual reading of an exception: the client's fault, a stop, or a fault of ours."""
    if isinstance(error, ContractError):
        return Failure(error.status, str(error), type(error).__name__, retry=False)
    if isinstance(error, JobStoppedError):
        return Failure(CANCELLED_STATUS, f"the task was stopped: {error}", "Cancelled", stop=error.reason)
    if isinstance(error, MemoryError):
        return Failure(
            500,
            "out of memory: lower width, height or batch_size",
            "OutOfMemoryError",
            out_of_memory=True,
        )
    text = str(error).strip() or "no further information"
    return Failure(500, f"{type(error).__name__}: {text}", type(error).__name__)
