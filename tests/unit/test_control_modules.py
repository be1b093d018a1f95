"""Preprocessors by name, their files, and the types that they are grouped by."""

from __future__ import annotations

from pathlib import Path

import pytest

from easel_contract.controlnet import MODULES, Module, find_module
from easel_contract.controlnet.control_types import ALL, TYPES, choices, in_order
from easel_contract.controlnet.modules import AUTO, available_modules
from easel_contract.errors import ContractError

WEIGHTLESS = {
    "none", "canny", "invert", "blur_gaussian", "scribble_xdog", "shuffle", "threshold", "color",
    "tile_resample", "tile_colorfix", "tile_colorfix+sharp", "recolor_luminance", "recolor_intensity",
    "reference_only", "reference_adain", "reference_adain+attn", "inpaint", "inpaint_only",
    "lineart_standard",
}  # fmt: skip
MODELS = ["control_v11p_sd15_canny [d14c016b]", "union_sdxl [00000000]", "t2iadapter_canny_sd15v2 [3489cd37]"]


def fill(models: Path, module: Module) -> None:
    """Put a file at every place where the module looks for one."""
    for path in module.files(models):
        place = path if path.suffix else path / "config.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"{}")


def test_every_module_has_a_name_a_label_and_sliders_that_make_sense() -> None:
    assert len(MODULES) >= 68
    assert len({module.label for module in MODULES.values()}) == len(MODULES)
    for name, module in MODULES.items():
        assert find_module(name) is module
        assert find_module(module.label.upper()) is module
        assert set(module.types) <= TYPES.keys()
        for slider in module.sliders:
            assert slider.minimum <= slider.default <= slider.maximum
            assert slider.step > 0


@pytest.mark.parametrize("name", ["", "None", " none "])
def test_no_module(name: str) -> None:
    assert find_module(name) is MODULES["none"]


def test_without_any_file_there_is_the_weights_free_set(tmp_path: Path) -> None:
    assert {module.name for module in available_modules(tmp_path, allow_pickle=False)} == WEIGHTLESS


@pytest.mark.parametrize(
    "name", [name for name, module in MODULES.items() if module.weights and module.supported]
)
def test_a_module_is_there_with_its_files_and_named_with_them_without(tmp_path: Path, name: str) -> None:
    module = MODULES[name]
    with pytest.raises(ContractError) as refused:
        module.require(tmp_path, allow_pickle=True, field="module")
    assert (refused.value.field, refused.value.status) == ("module", 422)
    for path in module.files(tmp_path):
        assert path.is_relative_to(tmp_path / "annotators")
        assert path.as_posix() in refused.value.message
    fill(tmp_path, module)
    module.require(tmp_path, allow_pickle=True, field="module")
    assert module in available_modules(tmp_path, allow_pickle=True)
    auto = MODULES[AUTO] in available_modules(tmp_path, allow_pickle=True)
    assert auto is module.tensor, "whose files are the encoders that IP-Adapters look with"


def test_one_file_of_several_is_not_enough(tmp_path: Path) -> None:
    module = next(module for module in MODULES.values() if module.supported and len(module.weights) > 1)
    fill(tmp_path, module)
    last = module.files(tmp_path)[-1]
    last.unlink()
    assert module.missing(tmp_path) == [last]
    assert not module.available(tmp_path, allow_pickle=True)


def test_a_pickle_alone_is_there_only_where_it_may_be_read(tmp_path: Path) -> None:
    hed = MODULES["hed"]
    fill(tmp_path, hed)
    [path] = hed.files(tmp_path)
    assert path.suffix == ".pth"
    assert hed in available_modules(tmp_path, allow_pickle=True)
    assert hed not in available_modules(tmp_path, allow_pickle=False)
    with pytest.raises(
        ContractError, match=r"ControlNetHED\.pth, which is a pickle.*EASEL_ALLOW_PICKLE"
    ) as refused:
        hed.require(tmp_path, allow_pickle=False, field="module")
    assert (refused.value.field, refused.value.status) == ("module", 422)
    path.with_suffix(".safetensors").write_bytes(b"")
    path.unlink()
    assert hed in available_modules(tmp_path, allow_pickle=False)


def test_safetensors_stand_in_for_a_pickle_and_a_file_for_an_encoders_folder(tmp_path: Path) -> None:
    hed, clip = MODULES["hed"], MODULES["ip-adapter_clip_sd15"]
    for module, name in ((hed, "ControlNetHED.safetensors"), (clip, "clip_vision/clip_h.safetensors")):
        path = tmp_path / "annotators" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        assert module.files(tmp_path) == [path]
        assert module.available(tmp_path, allow_pickle=False)


@pytest.mark.parametrize("name", [name for name, module in MODULES.items() if not module.supported])
def test_what_easel_cannot_run_is_refused_with_the_reason_whatever_files_there_are(
    tmp_path: Path, name: str
) -> None:
    module = MODULES[name]
    fill(tmp_path, module)
    assert module not in available_modules(tmp_path, allow_pickle=True)
    with pytest.raises(ContractError, match=r"is not supported by this version of Easel: \w+") as told:
        module.require(tmp_path, allow_pickle=True, field="a.module")
    assert (told.value.status, told.value.field) == (422, "a.module")
    assert told.value.message.startswith(repr(name))


def test_types_choose_the_usual_module_where_it_is_there_and_the_first_otherwise() -> None:
    every = list(MODULES.values())
    found = choices(every, MODELS)
    assert list(found) == [ALL, *sorted(TYPES)]
    for name, kind in TYPES.items():
        assert found[name].default_module == kind.option
        assert found[name].modules[0] == "none"
    free = [module for module in every if module.name in WEIGHTLESS]
    found = choices(free, MODELS)
    assert found["Scribble"].default_module == "scribble_xdog"
    assert (found["Depth"].modules, found["Depth"].default_module) == (("none",), "none")
    assert found["Tile"].modules == (
        "none",
        "tile_resample",
        "tile_colorfix+sharp",
        "tile_colorfix",
        "blur_gaussian",
    )


def test_types_have_the_models_that_their_names_tell_and_prefer_11() -> None:
    found = choices(list(MODULES.values()), MODELS[::-1])
    assert found[ALL].models == ("None", *MODELS[::-1])
    assert (found[ALL].default_module, found[ALL].default_model) == ("none", "None")
    assert set(found["Canny"].models) == {"None", *MODELS}
    assert found["Canny"].default_model == MODELS[0]
    assert found["Depth"].models == ("None", MODELS[1])
    assert found["T2I-Adapter"].default_model == MODELS[2]
    assert found["Reference"].models == ("None",)
    assert found["Reference"].default_model == "None"


def test_the_hash_is_no_part_of_a_models_name() -> None:
    found = choices([], ["a_canny [00000011]", "b_canny_v11 [00000000]"])
    assert found["Canny"].default_model == "b_canny_v11 [00000000]"


def test_modules_are_listed_in_upstreams_order() -> None:
    ordered = in_order(list(MODULES.values()))
    assert ordered[0].name == "none"
    chosen = {kind.option for kind in TYPES.values()}
    groups = [module.label in chosen for module in ordered[1:]]
    assert groups == sorted(groups, reverse=True)
