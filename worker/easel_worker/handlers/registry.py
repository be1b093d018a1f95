"""From a task's path to the handler that serves it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from easel_contract.errors import ContractError
from easel_worker.handlers.base import Handler

if TYPE_CHECKING:
    from easel_queue import Task
    from easel_worker.settings import WorkerSettings
    from easel_worker.stats import Stats

DEFAULT_PATH = "/sdapi/v1/txt2img"
"""Where a task without a path goes: EAS clients post to the bare service address too."""


class Registry:
    """The handlers of this worker.

    Raises:
        ValueError: two handlers serve the same path.
    """

    def __init__(self, handlers: Iterable[Handler[Any, Any]]) -> None:
        self._handlers = tuple(handlers)
        self._by_path: dict[str, Handler[Any, Any]] = {}
        for handler in self._handlers:
            for path in handler.paths:
                other = self._by_path.setdefault(path, handler)
                if other is not handler:
                    raise ValueError(f"{type(other).__name__} and {type(handler).__name__} both serve {path}")

    def __iter__(self) -> Iterator[Handler[Any, Any]]:
        return iter(self._handlers)

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(sorted(self._by_path))

    def at_hand(self) -> tuple[str, ...]:
        """The needs (see `easel_contract.needs`) that are met without loading anything, best first."""
        return tuple(need for handler in self._handlers for need in handler.at_hand())

    def find(self, task: Task) -> Handler[Any, Any]:
        """The handler of the task's path.

        Raises:
            ContractError: 404, no handler serves it.
        """
        path = "/" + task.meta.get("path", "").strip("/")
        if path == "/":
            path = DEFAULT_PATH
        handler = self._by_path.get(path)
        if handler is None:
            raise ContractError(
                f"no worker serves {path[:200]!r}; this one serves {', '.join(self.paths)}",
                field="path",
                status=404,
                kind="not_found",
            )
        return handler


def load_handlers(specs: Iterable[str], settings: WorkerSettings, stats: Stats) -> Registry:
    """Import ``module:attribute`` for every spec and build it.

    Raises:
        ValueError: a spec does not name a `Handler` class; says which.
    """
    handlers: list[Handler[Any, Any]] = []
    for spec in specs:
        module_name, _, attribute = spec.partition(":")
        try:
            factory = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"EASEL_HANDLERS: cannot load {spec!r} (module:attribute): {error}") from error
        if not (isinstance(factory, type) and issubclass(factory, Handler)):
            raise ValueError(f"EASEL_HANDLERS: {spec!r} is not an easel_worker.handlers.base.Handler")
        handlers.append(factory(settings, stats))
    return Registry(handlers)
