"""Hashes of model files, read while the picture is drawn."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from easel_contract.hashes import HashBook

DIGEST = hashlib.sha256(b"weights").hexdigest()


def test_a_hash_is_computed_beside_and_known_at_once_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    book = HashBook(tmp_path / "hashes.json")
    assert book.soon([path]).result(60) == DIGEST
    again = book.soon([path])
    assert again.done()
    assert again.result() == DIGEST
    assert HashBook(tmp_path / "hashes.json").soon([path]).done(), "the next process finds it"


def test_who_asks_does_not_wait_for_the_file(tmp_path: Path) -> None:
    """A pipe gives nothing before somebody writes: a file as slow as can be."""
    path = tmp_path / "slow.safetensors"
    os.mkfifo(path)
    book = HashBook()
    future = book.soon([path])
    assert not future.done()
    assert book.soon([path]) is future, "whoever asks meanwhile waits for the same reader"
    path.write_bytes(b"weights")
    assert future.result(60) == DIGEST


def test_a_file_that_is_gone_has_no_hash(tmp_path: Path) -> None:
    assert HashBook().soon([tmp_path / "gone.safetensors"]).result(60) == ""
    assert HashBook().soon([]).result(60) == ""
