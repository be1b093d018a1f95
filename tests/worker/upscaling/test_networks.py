"""Upscalers by name: filters, and real networks with random weights, read from files as people have them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from easel_contract.errors import ContractError
from easel_contract.options import RenderOptions
from easel_contract.upscalers import find_restorer, find_upscaler, list_upscalers
from easel_worker.upscaling import Upscalers
from easel_worker.upscaling.architectures import library
from easel_worker.upscaling.errors import WeightsError
from easel_worker.upscaling.network import Network, load_network
from easel_worker.upscaling.tiles import Pixels, run_in_tiles
from easel_worker.upscaling.tiling import Tiling, tiling_of

from ..intake.pictures import gradient
from .networks import save_rrdb


def load(path: Path, *, allow_pickle: bool = False) -> Network:
    return load_network(path, device=torch.device("cpu"), dtype=torch.float16, allow_pickle=allow_pickle)


def pixels(picture: Image.Image) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.asarray(picture).astype(int)


def test_built_in_upscalers_are_always_there(tmp_path: Path) -> None:
    names = [upscaler.name for upscaler in list_upscalers(tmp_path / "nothing here")]
    assert names == ["None", "Lanczos", "Nearest"]
    upscalers = Upscalers(tmp_path, load)
    nearest = upscalers.get("nearest", field="upscaler_1")(gradient(16, 8), (32, 16))
    assert (pixels(nearest)[::2, ::2] == pixels(gradient(16, 8))).all()
    lanczos = upscalers.get("Lanczos", field="upscaler_1")(gradient(16, 8), (30, 17))
    assert lanczos == gradient(16, 8).resize((30, 17), Image.Resampling.LANCZOS)


def test_files_are_found_by_stem_and_by_a1111s_names(tmp_path: Path) -> None:
    for name in (
        "ESRGAN/4x_foo.pth",
        "ESRGAN/4x_foo.safetensors",
        "ESRGAN/readme.txt",
        "ESRGAN/.hidden.pth",
        "RealESRGAN/RealESRGAN_x2plus.pth",
        "SwinIR/x3-bar.safetensors",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listed = {upscaler.name: upscaler for upscaler in list_upscalers(tmp_path)}
    assert list(listed) == ["None", "Lanczos", "Nearest", "4x_foo", "R-ESRGAN 2x+", "x3-bar"]
    assert listed["4x_foo"].path == tmp_path / "ESRGAN/4x_foo.safetensors"  # the one that is no pickle
    assert [upscaler.scale for upscaler in listed.values()] == [4, 4, 4, 4, 2, 3]
    for spelling in ("r-esrgan 2X+", "RealESRGAN_x2plus"):
        assert find_upscaler(tmp_path, spelling, field="x").name == "R-ESRGAN 2x+"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError) as caught:
        find_upscaler(tmp_path, "R-ESRGAN 4x+", field="hr_upscaler")
    assert str(caught.value) == (
        f"hr_upscaler: 'R-ESRGAN 4x+' needs a file that is missing: {tmp_path}/RealESRGAN/"
        f"RealESRGAN_x4plus.safetensors or {tmp_path}/RealESRGAN/RealESRGAN_x4plus.pth"
    )
    with pytest.raises(ContractError, match=r"GFPGAN/GFPGANv1\.4\.pth"):
        find_restorer(tmp_path, "gfpgan", field="restore_faces")
    with pytest.raises(
        ContractError, match="no upscaler 'foo'; there are: None, Lanczos, Nearest; put others"
    ):
        find_upscaler(tmp_path, "foo", field="upscaler_1")
    with pytest.raises(ContractError, match="use CodeFormer or GFPGAN"):
        find_restorer(tmp_path, "foo", field="face_restorer")


@pytest.mark.parametrize(
    ("name", "wrap", "scale"),
    [
        ("4x.safetensors", "", 4),
        ("4x.pth", "", 4),
        ("2x.pth", "params_ema", 2),
    ],
)
def test_an_esrgan_file_does_what_its_network_does(tmp_path: Path, name: str, wrap: str, scale: int) -> None:
    network = save_rrdb(tmp_path / "ESRGAN" / name, scale=scale, wrap=wrap)
    loaded = load(tmp_path / "ESRGAN" / name, allow_pickle=True)
    assert (loaded.scale, loaded.architecture) == (scale, "ESRGAN")
    small = gradient(24, 16)
    tensor = torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        wanted = network(tensor)[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255
    made = loaded(small, tick=lambda: None)
    assert np.abs(pixels(made) - wanted).max() <= 0.51


def test_a_network_reaches_any_size_and_keeps_transparency(tmp_path: Path) -> None:
    save_rrdb(tmp_path / "ESRGAN/2x_a.safetensors", scale=2)
    upscalers = Upscalers(tmp_path, load)
    upscaler = upscalers.get("2X_A", field="upscaler_1")
    runs: list[None] = []
    see_through = gradient(16, 12)
    see_through.putalpha(Image.linear_gradient("L").resize((16, 12)))
    large = upscaler(see_through, (50, 37), tick=lambda: runs.append(None))
    assert (large.mode, large.size) == ("RGBA", (50, 37))
    assert len(runs) == 2  # 2x, and 2x again
    assert (np.diff(np.asarray(large.getchannel("A")).astype(int), axis=0) >= 0).all()
    assert upscaler(gradient(16, 12), (8, 6)).size == (8, 6)


def test_options_say_how_large_tiles_are(tmp_path: Path) -> None:
    save_rrdb(tmp_path / "ESRGAN/4x_a.safetensors")
    upscalers = Upscalers(tmp_path, load)

    def tiles(**options: int) -> tuple[int, Image.Image]:
        ticks: list[None] = []
        upscaler = upscalers.get("4x_a", field="x", options=RenderOptions(**options))
        made = upscaler(gradient(48, 16), (192, 64), tick=lambda: ticks.append(None))
        return len(ticks), made

    whole = tiles(ESRGAN_tile=0)
    assert tiles() == whole, "smaller than a tile of the default size"
    assert (whole[0], tiles(ESRGAN_tile=16, ESRGAN_tile_overlap=0)[0]) == (1, 3)
    assert tiles(ESRGAN_tile=16, ESRGAN_tile_overlap=8)[0] == 5
    assert tiles(ESRGAN_tile=16, ESRGAN_tile_overlap=500)[0] == 5, "half a tile is the most"
    assert tiles(DAT_tile=16, SWIN_tile=16, SCUNET_tile=16) == whole, "another kind's"


@pytest.mark.parametrize(
    ("architecture", "option"),
    [
        ("ESRGAN", "ESRGAN"),
        ("RealESRGAN Compact", "ESRGAN"),
        ("DAT", "DAT"),
        ("SwinIR", "SWIN"),
        ("Swin2SR", "SWIN"),
        ("SCUNet", "SCUNET"),
    ],
)
def test_each_architecture_has_its_options(architecture: str, option: str) -> None:
    assert architecture in {support.architecture.name for support in library()[1]}
    changed = RenderOptions.model_validate({f"{option}_tile": 64, f"{option}_tile_overlap": 4})
    assert tiling_of(changed, architecture) == Tiling(64, 4)
    assert tiling_of(RenderOptions(), architecture) == Tiling(256 if option == "SCUNET" else 192, 8)


def test_a_network_stays_loaded_until_its_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "ESRGAN/4x_a.safetensors"
    save_rrdb(path)
    loads: list[Path] = []

    def counted(path: Path) -> Network:
        loads.append(path)
        return load(path)

    upscalers = Upscalers(tmp_path, counted)
    first = upscalers.get("4x_a", field="x")(gradient(8, 8), (32, 32))
    again = upscalers.get("4x_a", field="x")(gradient(8, 8), (32, 32))
    assert (len(loads), first == again) == (1, True)
    save_rrdb(path, seed=1)
    assert upscalers.get("4x_a", field="x")(gradient(8, 8), (32, 32)) != first
    assert len(loads) == 2


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    save_rrdb(tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"a\.pth is a pickle, which is refused: .*EASEL_ALLOW_PICKLE"):
        load(tmp_path / "a.pth")
    (tmp_path / "junk.safetensors").write_bytes(b"junk" * 50)
    (tmp_path / "junk.pth").write_bytes(b"junk" * 50)
    for name in ("junk.safetensors", "junk.pth", "gone.safetensors"):
        with pytest.raises(WeightsError, match=f"{name} cannot be read"):
            load(tmp_path / name, allow_pickle=True)
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth is of no architecture"):
        load(tmp_path / "other.pth", allow_pickle=True)
    weights = torch.load(tmp_path / "a.pth", weights_only=True)
    weights.pop("model.1.sub.0.RDB1.conv2.0.weight")
    torch.save(weights, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match=r"part\.pth"):
        load(tmp_path / "part.pth", allow_pickle=True)


def test_a_pickle_that_wants_to_run_something_is_not_obeyed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"model.0.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth cannot be read"):
        load(tmp_path / "evil.pth", allow_pickle=True)
    assert not (tmp_path / "ran").exists()


def test_spandrel_leaves_no_torchvision_behind(tmp_path: Path) -> None:
    save_rrdb(tmp_path / "a.safetensors")
    load(tmp_path / "a.safetensors")
    if importlib.util.find_spec("torchvision") is None:
        assert not [name for name in sys.modules if name.partition(".")[0] == "torchvision"]


def repeat(part: Pixels) -> Pixels:
    return part.repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.parametrize("size", [(40, 40), (41, 97), (16, 200), (33, 32)])
def test_tiles_make_the_same_picture(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(3).random((*size, 3), np.float32)
    seen: list[tuple[int, ...]] = []

    def network(part: Pixels) -> Pixels:
        seen.append(part.shape)
        return repeat(part)

    made = run_in_tiles(picture, network, scale=2, tile=32, overlap=8)
    assert np.allclose(made, repeat(picture), atol=1e-6)
    assert len(set(seen)) == 1
    assert max(seen[0]) <= 32


def test_tiles_fade_into_each_other() -> None:
    """A network that answers each tile in its own brightness: steps at the seams would be seen."""
    number = iter(range(100))
    made = run_in_tiles(
        np.zeros((32, 100, 3), np.float32),
        lambda part: np.full((64, part.shape[1] * 2, 3), float(next(number)), np.float32),
        scale=2,
        tile=32,
        overlap=8,
    )
    assert made.max() == 3  # four tiles
    assert np.abs(np.diff(made, axis=1)).max() < 0.1
