"""Log lines of every process: one per event, to stderr, for people or as JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

# What every record has, and uvicorn's copy of its message with terminal colours.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class _Json(logging.Formatter):
    def __init__(self, component: str) -> None:
        super().__init__()
        self.component = component

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "component": self.component,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class _Text(logging.Formatter):
    def __init__(self, component: str) -> None:
        super().__init__(
            f"%(asctime)s %(levelname)-7s {component}: %(message)s%(context)s", "%Y-%m-%d %H:%M:%S"
        )

    def format(self, record: logging.LogRecord) -> str:
        extra = {
            key: value for key, value in vars(record).items() if key not in _STANDARD and key != "context"
        }
        record.context = "".join(f" {key}={value}" for key, value in extra.items())
        return super().format(record)


def setup(component: str, level: str = "INFO", fmt: str = "text") -> None:
    """Send this process's log to stderr. Values given as ``extra={...}`` (request_id, …) become fields."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(component) if fmt == "json" else _Text(component))
    logging.basicConfig(level=level, handlers=[handler], force=True)
