"""The CLIP tokenizer that ships with the worker, so that no hub is needed.

Only the merge list is stored (`clip/merges.txt`, MIT, see `clip/LICENSE.txt`); the vocabulary follows from
it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.libraries import CLIPTokenizer

MERGES_PATH = Path(__file__).parent / "clip" / "merges.txt"
START_TOKEN = "<|startoftext|>"  # noqa: S105 - a vocabulary entry, not a password
END_TOKEN = "<|endoftext|>"  # noqa: S105 - a vocabulary entry, not a password
# Positions of CLIP's text encoder: BOS + 75 tokens + EOS.
MAX_LENGTH = 77
_CONFIG = {
    "tokenizer_class": "CLIPTokenizer",
    "model_max_length": MAX_LENGTH,
    "bos_token": START_TOKEN,
    "eos_token": END_TOKEN,
    "unk_token": END_TOKEN,
    "pad_token": END_TOKEN,
}


def byte_symbols() -> list[str]:
    """The 256 printable characters that stand for bytes, in vocabulary order.

    GPT-2's rule (Radford et al. 2019, `bytes_to_unicode` in openai/gpt-2 `encoder.py`): printable Latin-1
    bytes stand for themselves and come first, the other 68 follow as U+0100, U+0101, ...
    """
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = 256 - len(printable)
    return [chr(code) for code in printable] + [chr(256 + n) for n in range(others)]


def read_merges(path: Path = MERGES_PATH) -> list[tuple[str, str]]:
    """The byte-pair merges of a `merges.txt`, most frequent first; a `#version` header line is skipped."""
    merges: list[tuple[str, str]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        left, separator, right = line.partition(" ")
        if not separator or not right or " " in right:
            raise CheckpointError(
                f"{path}, line {number}: expected two symbols with a blank between, got {line!r}"
            )
        merges.append((left, right))
    return merges


def derive_vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    """CLIP's token -> id table: bytes, bytes that end a word, one token per merge, the two special tokens.

    48,894 merges give 49,408 tokens (openai/CLIP `simple_tokenizer.py`).
    """
    symbols = byte_symbols()
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *(left + right for left, right in merges)]
    return {token: index for index, token in enumerate([*tokens, START_TOKEN, END_TOKEN])}


def clip_tokenizer() -> Any:
    """A transformers `CLIPTokenizer` equal to openai/clip-vit-large-patch14's, built without any network.

    Pads with EOS (49407), as Stable Diffusion 1.x does; truncates at 77 tokens only where truncation is asked
    for.
    """
    merges = read_merges()
    return CLIPTokenizer(vocab=derive_vocabulary(merges), merges=merges, model_max_length=MAX_LENGTH)


@cache
def shared_tokenizer() -> Any:
    """`clip_tokenizer`, made once for all models that bring none: it takes a tenth of a second. Read only."""
    return clip_tokenizer()


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a diffusers folder; the shipped one where the folder brings none.

    Raises `CheckpointError` for a folder whose files do not make a CLIP tokenizer.
    """
    brings_own = (folder / "tokenizer.json").is_file() or (folder / "vocab.json").is_file()
    if not brings_own:
        return shared_tokenizer()
    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception for a damaged file
        raise CheckpointError(f"{folder}: not a CLIP tokenizer: {error}") from error
    # A folder without this number in its configuration would have "no limit" (1e30).
    tokenizer.model_max_length = MAX_LENGTH
    return tokenizer


def write_tokenizer(folder: Path) -> None:
    """Write the shipped tokenizer's files: other programs want them in the folder of a model.

    About 1.4 MB, and the same bytes on every machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "merges.txt").write_bytes(MERGES_PATH.read_bytes())
    vocabulary = json.dumps(derive_vocabulary(read_merges()), ensure_ascii=False, separators=(",", ":"))
    (folder / "vocab.json").write_text(vocabulary, encoding="utf-8")
    config = json.dumps(_CONFIG, indent=2, sort_keys=True)
    (folder / "tokenizer_config.json").write_text(config + "\n", encoding="utf-8")
