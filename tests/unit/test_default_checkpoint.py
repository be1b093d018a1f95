"""Which checkpoint a request gets that names none."""

from __future__ import annotations

from pathlib import Path

import pytest

from easel_contract.checkpoints import INDEX, STARTER, Library
from easel_contract.errors import ContractError
from easel_contract.needs import needs_of
from easel_contract.requests import Img2ImgRequest, Txt2ImgRequest


def library(folder: Path, *names: str) -> Library:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / INDEX).write_text("{}")
    return Library(folder)


def test_it_is_the_operators_choice_else_the_first_and_the_starter_last(tmp_path: Path) -> None:
    models = library(tmp_path, STARTER)
    assert models.default() == STARTER
    library(tmp_path, "zebra", "tiger")
    assert models.default() == "tiger"
    assert models.default("zebra") == "zebra"
    with pytest.raises(ContractError, match="no checkpoint") as caught:
        library(tmp_path / "nothing").default()
    assert (caught.value.status, caught.value.field) == (422, "sd_model_checkpoint")


def test_a_requests_own_checkpoint_beats_the_options() -> None:
    options = {"sd_model_checkpoint": "tiger"}
    own = Txt2ImgRequest(override_settings={"sd_model_checkpoint": "zebra"})
    for request, wanted in ((Txt2ImgRequest(), "checkpoint:tiger"), (own, "checkpoint:zebra")):
        assert needs_of(request, lambda name: name, options).models == (wanted,)


def test_what_no_other_request_could_share_a_batch_with() -> None:
    for alone in (
        Img2ImgRequest(init_images=["x"]),
        Txt2ImgRequest(script_name="Prompt matrix"),
        Txt2ImgRequest(enable_hr=True, firstpass_image="x"),
        Txt2ImgRequest(n_iter=2),
    ):
        found = needs_of(alone, lambda name: name)
        assert (found.models, found.batch) == (("checkpoint:",), "")


def test_tasks_with_unequal_options_share_no_batch() -> None:
    found = {
        needs_of(Txt2ImgRequest(), lambda name: name, options).batch
        for options in ({}, {"eta_ddim": 0.5}, {"eta_ddim": 0.6}, {"eta_ddim": 0.6, "n_rows": 2})
    }
    assert len(found) == 4
    same = {"n_rows": 2, "eta_ddim": 0.6}, {"eta_ddim": 0.6, "n_rows": 2}
    assert len({needs_of(Txt2ImgRequest(), lambda name: name, options).batch for options in same}) == 1


def test_a_batch_has_one_size_one_sampler_and_one_strength_of_variation() -> None:
    requests = ({}, {"width": 640}, {"steps": 9}, {"sampler_name": "Heun"}, {"subseed_strength": 0.5})
    assert (
        len({needs_of(Txt2ImgRequest.model_validate(one), lambda name: name).batch for one in requests}) == 5
    )
    alike = ({"prompt": "a", "seed": 1}, {"prompt": "b", "negative_prompt": "c", "subseed": 2})
    assert len({needs_of(Txt2ImgRequest.model_validate(one), lambda name: name).batch for one in alike}) == 1
