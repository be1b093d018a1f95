"""The options of a service: one JSON object that all its gateways and workers share.

What an option means is the contract's business. Here it is data that every task gets a copy of when it is
put (`Task.options`), so that a task runs with the options of the moment at which it was accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from easel_queue.call import Call, Raw, mapping, text, to_json
from easel_queue.keys import Keys

CHANNEL = "options"
"""What `EventHub.on_queue` takes to tell of changed options."""


@dataclass(frozen=True)
class StoredOptions:
    """The options that are set. `text` is what Redis has, to be shown when they are replaced."""

    values: Mapping[str, Any]
    text: str = ""


class OptionsCalls:
    """Builds the calls about the options of one service."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def read(self) -> Call[StoredOptions]:
        """The options that are set."""

        def read(raw: Raw) -> StoredOptions:
            stored = text(raw)
            return StoredOptions(mapping(stored), stored)

        return Call("read_options", (self.keys.options,), (), read)

    def replace(self, old: StoredOptions, values: Mapping[str, Any]) -> Call[bool]:
        """Set these and no others, if `old` is still what is stored; False and nothing changed if not.

        Repeated after a lost answer it says False, and the options are `values`.
        """
        new = to_json(values) if values else ""
        return Call("replace_options", (self.keys.options,), (old.text, new), bool, durable=True)
