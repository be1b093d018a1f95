"""What became of a task: its pictures, read back from the store."""

from __future__ import annotations

import asyncio
import base64
import json
import mimetypes
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

from easel_contract.errors import ContractError
from easel_contract.savedir import resolve_save_dir
from easel_gateway.bodies import whole
from easel_gateway.errors import ApiError
from easel_gateway.gateway import Gateway
from easel_gateway.sdapi.png_info import read_picture
from easel_store import NotFoundError, Store

MAX_SHOWN_BYTES = 64 * 1024 * 1024
"""Of pictures in one JSON answer; a zip may hold any number, as it is streamed."""
IN_MEMORY_BYTES = 8 * 1024 * 1024
CHUNK = 64 * 1024


@dataclass(frozen=True)
class Result:
    """A task's answer. `error` is empty for a success."""

    body: dict[str, Any]

    @property
    def error(self) -> str:
        """Why it failed."""
        parameters = self.body.get("parameters")
        message = parameters.get("error_msg") if isinstance(parameters, dict) else None
        return str(message or self.body.get("detail") or "")

    @property
    def paths(self) -> list[str]:
        """Where its pictures lie, as the client sees it; the grid first, if there is one."""
        parameters = self.body.get("parameters")
        listed = parameters.get("image_url") if isinstance(parameters, dict) else None
        return [path for path in str(listed or "").split(",") if path]


class TooMuchError(Exception):
    """The pictures together are larger than one answer may be."""


async def result_of(gateway: Gateway, task_id: str) -> Result | None:
    """The answer of a task that ended; None while there is none, or no longer one."""
    reply = await gateway.queue.run(gateway.queue.tasks.take_reply(task_id))
    if reply is None:
        return None
    (reply,) = await whole(gateway.claims, [reply])
    try:
        body = json.loads(reply.data)
    except ValueError:
        body = {}
    return Result(body if isinstance(body, dict) else {})


async def shown_pictures(gateway: Gateway, result: Result) -> list[dict[str, str]]:
    """The pictures as data URIs, each with its infotext. Those that were removed from the store are left out.

    Raises:
        TooMuchError: more than `MAX_SHOWN_BYTES`.
        StoreError: storage does not answer.
    """
    mounts = gateway.settings.mount_paths

    def read() -> list[dict[str, str]]:
        shown, size = [], 0
        for name, data in _pictures(gateway.pictures, result, mounts):
            size += len(data)
            if size > MAX_SHOWN_BYTES:
                raise TooMuchError
            shown.append(_shown(name, data))
        return shown

    return await asyncio.to_thread(read)


async def zipped_pictures(gateway: Gateway, result: Result) -> IO[bytes]:
    """The pictures in a zip file, at its beginning. Raises StoreError."""
    mounts = gateway.settings.mount_paths

    def pack() -> IO[bytes]:
        file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - closed by who reads it
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, data in _pictures(gateway.pictures, result, mounts):
                archive.writestr(name, data)
        file.seek(0)
        return file

    return await asyncio.to_thread(pack)


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The file's content; closes it."""
    with file:
        while chunk := file.read(CHUNK):
            yield chunk


def _pictures(store: Store, result: Result, mounts: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """File name and content of every picture that is still there."""
    for path in result.paths:
        try:
            key = resolve_save_dir(path, mounts).key_prefix
            data = store.get(key)
        except (ContractError, NotFoundError):
            continue  # another mount by now, or somebody tidied up
        yield PurePosixPath(key).name, data


def _shown(name: str, data: bytes) -> dict[str, str]:
    encoded = base64.b64encode(data).decode()
    try:
        infotext = read_picture(encoded).info
    except ApiError:
        infotext = ""
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {"image": f"data:{media_type};base64,{encoded}", "infotext": infotext}
