"""What only the directory store promises: atomic files, clear refusals, A1111's tree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from easel_contract.settings import CommonSettings
from easel_store import (
    MODEL_FOLDERS,
    LocalStore,
    StoreError,
    claims_store,
    configured_store,
    make_layout,
    open_store,
)

_WRITER = """
import sys
from pathlib import Path
from easel_store import LocalStore
store = LocalStore(Path(sys.argv[1]))
round = 0
while True:
    store.put("same.bin", bytes([round % 256]) * 3_000_000, "x/y")
    round += 1
    print(round, flush=True)
"""


def test_kill_9_never_leaves_half_a_file(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    for _ in range(3):
        writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)  # in the middle of some write
    writer.wait()
    writer.stdout.close()
    data = LocalStore(tmp_path).get("same.bin")
    assert len(data) == 3_000_000
    assert len(set(data)) == 1
    assert list(LocalStore(tmp_path).list("")) == ["same.bin"]  # an unfinished file is not shown


def test_what_a_killed_writer_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    old, new, file = folder / ".easel-1", folder / ".easel-2", folder / "c.png"
    for path in (old, new, file):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    os.utime(file, (0, 0))
    assert LocalStore(tmp_path).tidy(3600) == 1
    assert sorted(folder.iterdir()) == [new, file]


def test_claims_lie_where_no_picture_can(tmp_path: Path) -> None:
    class Settings(CommonSettings):
        data_dir: Path = tmp_path

    claims_store(Settings()).put("easel/1", b"body", "x/y")
    assert (tmp_path / "claims/easel/1").read_bytes() == b"body"
    assert list(configured_store(Settings()).list("")) == []
    assert list(claims_store(Settings()).list("")) == ["easel/1"]


def test_files_are_readable_by_others_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        LocalStore(tmp_path).put("a/b.png", b"x", "image/png")
    finally:
        os.umask(before)
    assert (tmp_path / "a/b.png").stat().st_mode & 0o777 == 0o644


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot write .*outputs/a\.png: .*EASEL_DATA_DIR"):
        LocalStore(tmp_path).put("outputs/a.png", b"x", "image/png")
    with pytest.raises(StoreError, match=r"cannot make .*outputs.*EASEL_DATA_DIR"):
        make_layout(tmp_path)


def test_deleting_a_folder_does_nothing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("outputs/a/1.png", b"x", "image/png")
    store.delete("outputs/a")
    assert store.get("outputs/a/1.png") == b"x"


def test_easels_own_folders_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/up.json").write_text("secret")
    (tmp_path / "outputs/run").mkdir(parents=True)
    (tmp_path / "outputs/run/1.png").write_bytes(b"x")
    assert list(LocalStore(tmp_path).list("")) == ["outputs/run/1.png"]


def test_prefixes_stay_inside(tmp_path: Path) -> None:
    for prefix in ("/", "../", "a/../../"):
        with pytest.raises(StoreError, match="without"):
            LocalStore(tmp_path).list(prefix)


def test_presigned_addresses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="EASEL_S3_ENDPOINT"):
        LocalStore(tmp_path).presigned_url("a.png", 60)


def test_layout_is_made_and_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "big-disk"
    elsewhere.mkdir()
    data = tmp_path / "data"
    (data / "models").mkdir(parents=True)
    (data / "models/Lora").symlink_to(elsewhere)
    make_layout(data)
    make_layout(data)
    assert (data / "models/Lora").is_symlink()
    assert {path.name for path in (data / "models").iterdir()} == set(MODEL_FOLDERS)
    assert {"models", "embeddings", "outputs"} == {path.name for path in data.iterdir()}
    assert isinstance(open_store(data, None), LocalStore)
