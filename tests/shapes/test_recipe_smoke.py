"""The whole recipe in its short form: every stage runs, losses fall, and a sitting goes on from the last."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from easel_shapes.recipe.__main__ import main
from easel_worker.diffusion.checkpoint import load_checkpoint


@pytest.mark.slow
def test_every_stage_runs_and_the_losses_fall(tmp_path: Path) -> None:
    assert main(["all", "--smoke", "--out", str(tmp_path), "--device", "cpu"]) == 0
    load_checkpoint(tmp_path / "easel-shapes", device=torch.device("cpu"), dtype=torch.float32)
    assert (tmp_path / "samples.png").is_file()
    assert "| background |" in (tmp_path / "evaluation.md").read_text(encoding="utf-8")
    before = torch.load(tmp_path / "denoiser.pt", weights_only=True)["steps"]
    main(["denoiser", "--smoke", "--out", str(tmp_path), "--device", "cpu"])
    assert torch.load(tmp_path / "denoiser.pt", weights_only=True)["steps"] == 2 * before
