"""`save_dir` maps to the store and back, and cannot leave it."""

from __future__ import annotations

import pytest

from easel_contract.errors import ContractError
from easel_contract.savedir import SaveDir, resolve_save_dir

MOUNTS = ("/code/stable-diffusion-webui/data", "/code/stable-diffusion-webui/data-oss")


@pytest.mark.parametrize(
    ("given", "key", "shown"),
    [
        (f"{MOUNTS[0]}/outputs", "outputs", f"{MOUNTS[0]}/outputs"),
        (f"{MOUNTS[1]}/outputs/txt2img/", "outputs/txt2img", f"{MOUNTS[1]}/outputs/txt2img"),
        (MOUNTS[1], "", MOUNTS[1]),
        ("tmp/outputs", "tmp/outputs", "tmp/outputs"),
        ("./a//b/.", "a/b", "a/b"),
    ],
)
def test_mapping(given: str, key: str, shown: str) -> None:
    assert resolve_save_dir(given, MOUNTS) == SaveDir(key, shown)


def test_files_below() -> None:
    place = resolve_save_dir(f"{MOUNTS[0]}/o", MOUNTS)
    assert (place.key("a/b.png"), place.shown("a/b.png")) == ("o/a/b.png", f"{MOUNTS[0]}/o/a/b.png")
    assert resolve_save_dir(MOUNTS[0], MOUNTS).key("x.png") == "x.png"


@pytest.mark.parametrize(
    "given",
    ["../../etc", "a/../../b", f"{MOUNTS[0]}/../x", "/etc", "/code/stable-diffusion-webui/database", "", "  ",
     "a\x00b", "a\nb", "a\\b", "~root/x", "x" * 600],
)  # fmt: skip
def test_refusals_name_the_field(given: str) -> None:
    with pytest.raises(ContractError) as caught:
        resolve_save_dir(given, MOUNTS)
    assert caught.value.status == 422
    assert caught.value.field == "alwayson_scripts.save_dir"
