"""The whole recipe in its short form: every stage runs, losses fall, and a sitting goes on from the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from easel_shapes.companions import companion_file
from easel_shapes.recipe.__main__ import main
from easel_worker.diffusion.checkpoint import load_checkpoint


def state(folder: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(folder / name, weights_only=True)
    return loaded


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_stage_runs_and_the_losses_fall(tmp_path: Path) -> None:
    call = ["--smoke", "--out", str(tmp_path), "--device", "cpu"]
    assert main(["all", *call]) == 0
    load_checkpoint(tmp_path / "easel-shapes", device=torch.device("cpu"), dtype=torch.float32)
    assert (tmp_path / "samples.png").is_file()
    assert "| background |" in (tmp_path / "evaluation.md").read_text(encoding="utf-8")
    assert "| 128 x 192 |" in (tmp_path / "survey.md").read_text(encoding="utf-8")

    # Called again it has nothing left to train; with minutes it goes on.
    before = state(tmp_path, "denoiser.pt")
    assert (before["steps"], before["reading_steps"]) == (40, 40)
    assert main(["denoiser", *call]) == 0
    assert state(tmp_path, "denoiser.pt")["steps"] == 40
    assert main(["denoiser", *call, "--minutes", "0.1", "--processes", "1"]) == 0
    assert state(tmp_path, "denoiser.pt")["steps"] > 40
    kept = state(tmp_path, "vae.pt")
    assert (kept["steps"], kept["decoder_steps"]) == (40, 30)
    assert main(["decoder", *call, "--minutes", "0.1"]) == 0
    encoder = [name for name in kept["vae"] if name.startswith(("encoder.", "quant_conv."))]
    assert encoder
    now = state(tmp_path, "vae.pt")
    assert now["decoder_steps"] > 30
    assert all(torch.equal(kept["vae"][name], now["vae"][name]) for name in encoder), "latents stay valid"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_companions_are_made_and_a_sitting_goes_on(tmp_path: Path) -> None:
    call = ["--smoke", "--out", str(tmp_path), "--device", "cpu"]
    assert main(["companions", *call]) == 0
    for name in ("edges", "striped", "arrow"):
        assert companion_file(name, tmp_path / "companions").is_file()
        assert (tmp_path / f"samples-{name}.png").is_file()
    assert "| IoU, wrong |" in (tmp_path / "companions.md").read_text(encoding="utf-8")

    for stage, kept in (("control", "control.pt"), ("lora-arrow", "lora-arrow.pt")):
        assert state(tmp_path, kept)["steps"] == 40
        assert main([stage, *call]) == 0
        assert state(tmp_path, kept)["steps"] == 40
        assert main([stage, *call, "--minutes", "0.05"]) == 0
        assert state(tmp_path, kept)["steps"] > 40
