"""Finds, assembles and checks the Lua scripts.

One file per transition, named ``verb_noun-<KEYS>.lua`` where KEYS is the number of keys it takes. A line
``-- @include <name>`` is replaced by ``scripts/includes/<name>.lua``, once in a script however often it is
asked for: Redis has no `require`. Functions that a script does not use are left out, since Lua makes all
functions of a script anew for every call.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from easel_queue.errors import ScriptMismatchError

_NAME = re.compile(r"(?P<name>[a-z_]+)-(?P<keys>\d+)\.lua\Z")
_INCLUDE = re.compile(r"^-- @include (?P<name>[a-z_]+)$", re.MULTILINE)
_KEY = re.compile(r"\bKEYS\[(\d+)\]")
_FUNCTION = re.compile(r"^local function (?P<name>\w+)\(.*?^end\n", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^[ ]*--.*\n", re.MULTILINE)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Script:
    """One script: its source with includes in place, the SHA-1 Redis knows it by, and its KEYS count."""

    name: str
    source: str
    sha: str
    keys: int

    def check(self, keys: int) -> None:
        """Raise ScriptMismatchError unless the caller brings as many keys as the file name says."""
        if keys != self.keys:
            raise ScriptMismatchError(
                f"{self.name}-{self.keys}.lua takes {self.keys} keys, the caller has {keys}"
            )


def assemble(name: str, keys: int, text: str, includes: dict[str, str]) -> Script:
    """Put the includes in place and check that the source uses no key beyond KEYS[keys]."""

    seen: set[str] = set()

    def included(match: re.Match[str]) -> str:
        wanted = match["name"]
        if wanted in seen:
            return ""
        seen.add(wanted)
        if wanted not in includes:
            raise ScriptMismatchError(f"{name}-{keys}.lua includes {wanted!r}, which does not exist")
        return _INCLUDE.sub(included, includes[wanted])

    source = without_unused(_INCLUDE.sub(included, text))
    beyond = [number for number in map(int, _KEY.findall(source)) if not 1 <= number <= keys]
    if beyond:
        raise ScriptMismatchError(f"{name}-{keys}.lua uses KEYS {beyond}, its name says 1 to {keys}")
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return Script(name, source, sha, keys)


def without_unused(source: str) -> str:
    """The source without the top-level functions that nothing in it uses, and without lines of comments.

    A top-level function is one written ``local function name(``, its ``end`` alone on a line, both at the
    very left; other code there is kept. A word counts as a use wherever it stands, in a text too: at worst a
    function is kept for nothing. A local has no other way to be found than by its name.
    """
    source = _COMMENT.sub("", source)
    needs = {match["name"]: set(_WORD.findall(match[0])) for match in _FUNCTION.finditer(source)}
    used: set[str] = set()
    found = set(_WORD.findall(_FUNCTION.sub("", source)))
    while found:
        used |= found
        found = set().union(*(needs.get(name, ()) for name in found)) - used

    def kept(match: re.Match[str]) -> str:
        return match[0] if match["name"] in used else ""

    return _FUNCTION.sub(kept, source)


@lru_cache(maxsize=1)
def load_scripts() -> dict[str, Script]:
    """All scripts of the package by name. Raises ScriptMismatchError when one contradicts its file name."""
    folder = files("easel_queue") / "scripts"
    includes = {
        item.name.removesuffix(".lua"): item.read_text(encoding="utf-8")
        for item in (folder / "includes").iterdir()
    }
    scripts: dict[str, Script] = {}
    for item in folder.iterdir():
        if not item.name.endswith(".lua"):
            continue
        match = _NAME.match(item.name)
        if match is None:
            raise ScriptMismatchError(f"{item.name}: a script is named verb_noun-<KEYS>.lua")
        text = item.read_text(encoding="utf-8")
        scripts[match["name"]] = assemble(match["name"], int(match["keys"]), text, includes)
    return scripts
