"""Revision, and an IP-Adapter of SDXL's, through a request."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from easel_contract.controlnet.models import FOLDER
from easel_contract.errors import ContractError
from easel_worker.diffusion.checkpoint import load_checkpoint
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.random_model import build_random_checkpoint

from ...small_models.ip_adapter import ip_adapter, write_clip_folder, write_flat
from ..desk import BARE, Desk
from ..diffusion.small_models import KINDS, write_folder
from .controlled import controlled, drawing, equal, unit, units
from .test_control_kinds import striped

REVISION = {"module": "revision_clipvision", "model": "None"}


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A random SDXL with an IP-Adapter, and a random SD 1.x; CLIP's encoder is ViT-bigG by name."""
    data_dir = tmp_path_factory.mktemp("revision")
    models = data_dir / "models"
    build_random_checkpoint(models / "Stable-diffusion" / "tiny-random")
    folder = write_folder(KINDS["sdxl"], models / "Stable-diffusion" / "tiny-xl")
    unet = load_checkpoint(folder, device=torch.device("cpu"), dtype=torch.float32).unet
    (models / FOLDER).mkdir()
    write_flat(ip_adapter(unet), models / FOLDER / "ip-adapter_sdxl.safetensors")
    write_clip_folder(models / "annotators" / "clip_vision" / "clip_g")
    return Desk(data_dir, BARE, default_checkpoint="tiny-xl")


@pytest.mark.parametrize("module", ["revision_clipvision", "revision_ignore_prompt"])
def test_a_picture_stands_in_for_the_pooled_text(xl: Desk, module: str) -> None:
    fields = {"module": module, "model": "None"}
    answer = controlled(xl, **fields)
    plain = xl.txt2img()
    assert not equal(answer, plain)
    assert not equal(answer, controlled(xl, **fields, image=striped()))
    assert not equal(answer, controlled(xl, **fields, threshold_a=0.8))
    assert equal(controlled(xl, **fields, weight=0), plain)
    other = {"prompt": "something else"}
    same = equal(controlled(xl, other, **fields), answer)
    assert same is (module == "revision_ignore_prompt")


def test_noise_on_the_embedding_is_the_seeds(xl: Desk) -> None:
    once, again = (controlled(xl, **REVISION, threshold_a=0.8) for _ in range(2))
    assert equal(once, again)


def test_several_init_images_are_looked_at_each_by_its_picture(xl: Desk) -> None:
    images = [drawing(), striped()]
    lent = unit(**REVISION, image=None, threshold_a=0.5)
    both = xl.img2img(images, batch_size=2, **units(lent))
    assert len(both.images) == 4
    first = xl.img2img(images[0], **units(lent))
    assert abs(both.pixels[0].astype(int) - first.pixels[0]).max() <= 1
    shared = xl.img2img(images, batch_size=2, **units(unit(**REVISION, image=images[0], threshold_a=0.5)))
    assert abs(shared.pixels[0].astype(int) - first.pixels[0]).max() <= 1
    assert not np.array_equal(both.pixels[1], shared.pixels[1])


def test_auto_looks_with_bigg_for_sdxl(xl: Desk) -> None:
    fields: dict[str, Any] = {"module": "ip-adapter-auto", "model": "ip-adapter_sdxl"}
    answer = controlled(xl, **fields)
    assert equal(answer, controlled(xl, **fields | {"module": "ip-adapter_clip_g"}))
    assert not np.array_equal(answer.pixels[0], xl.txt2img().pixels[0])


def test_what_it_cannot_do_is_refused(xl: Desk, control_desk: Desk) -> None:
    with pytest.raises(JobError, match=r"args\[0\]\.module: revision is for SDXL; tiny-random"):
        controlled(xl, {"override_settings": {"sd_model_checkpoint": "tiny-random"}}, **REVISION)
    with pytest.raises(ContractError, match="clip_g"):
        controlled(control_desk, **REVISION)
    folder = control_desk.settings.data_dir / "models" / "annotators" / "clip_vision"
    pickled = folder / "clip_g.pth"
    pickled.touch()
    try:
        with pytest.raises(ContractError, match="is a pickle: set EASEL_ALLOW_PICKLE") as refused:
            controlled(control_desk, **REVISION)
        assert refused.value.field == "alwayson_scripts.controlnet.args[0].module"
    finally:
        pickled.unlink()
    for name, value in (("advanced_weighting", [1.0]), ("effective_region_mask", striped())):
        for fields in (REVISION, {"module": "reference_only", "model": "None"}):
            with pytest.raises(ContractError, match="is for models") as refused:
                controlled(xl, **fields, **{name: value})
            assert refused.value.field == f"alwayson_scripts.controlnet.args[0].{name}"
