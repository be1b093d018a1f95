"""VAEs by name: which one a request gets, what it draws with it, and what infotexts tell."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from easel_contract.errors import ContractError
from easel_worker.diffusion.errors import JobError
from easel_worker.models.cache import CHECKPOINT

from ..desk import Desk, difference, infotext_of
from ..diffusion.small_models import KINDS, WEIGHTS, beside, vae_weights, write_file, write_folder

NAMED = "bright.safetensors"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory: two checkpoints as files, VAEs of every form."""
    data_dir = tmp_path_factory.mktemp("vaes")
    models = data_dir / "models"
    parts = data_dir / "parts"
    for name in ("sd1", "sdxl"):
        folder = write_folder(KINDS[name], parts / name)
        write_file(KINDS[name], folder, models / "Stable-diffusion" / f"{name}.safetensors")
    bright = write_folder(KINDS["sd1"], parts / "bright", seed=5) / "vae"
    with torch.no_grad():
        weights = load_file(bright / WEIGHTS)
        weights["decoder.conv_out.bias"] += 1.5
        save_file(weights, bright / WEIGHTS, {"format": "pt"})
    vaes = models / "VAE"
    (vaes / "more").mkdir(parents=True)
    ldm = vae_weights(parts / "bright")
    save_file(ldm, vaes / NAMED, {"format": "pt"})
    save_file(
        {f"first_stage_model.{name}": t for name, t in ldm.items()}, vaes / "more" / "prefixed.safetensors"
    )
    save_file(weights, vaes / "by-diffusers.safetensors", {"format": "pt"})
    torch.save({"state_dict": ldm}, vaes / "pickled.pt")
    shutil.copytree(bright, vaes / "folder")
    save_file(ldm, vaes / "for-xl.safetensors", {"modelspec.architecture": "stable-diffusion-xl-v1-base/vae"})
    wide = {**weights, "decoder.conv_in.weight": torch.zeros(64, 16, 3, 3)}
    wide |= {"encoder.conv_out.weight": torch.zeros(32, 64, 3, 3), "encoder.conv_out.bias": torch.zeros(32)}
    wide = {name: tensor for name, tensor in wide.items() if "quant_conv" not in name}
    save_file(wide, vaes / "wide.safetensors")
    save_file({"lora_unet.lora_down.weight": torch.zeros(1)}, vaes / "lora.safetensors")
    return data_dir


@pytest.fixture(scope="module")
def desk(home: Path) -> Desk:
    return Desk(home, default_checkpoint="sd1", allow_pickle=True)


@pytest.fixture
def beside_sd1(home: Path) -> Iterator[Path]:
    path = home / "models" / "Stable-diffusion" / "sd1.safetensors"
    other = beside(path, ".vae.safetensors", home / "models" / "VAE" / NAMED)
    yield other
    other.unlink()


def drawn(desk: Desk, vae: str | None = None, **options: Any) -> Any:
    chosen = {} if vae is None else {"sd_vae": vae}
    return desk.image(steps=1, override_settings={**chosen, **options})


def refusal(desk: Desk, vae: str) -> ContractError:
    with pytest.raises(ContractError) as caught:
        desk.plan(override_settings={"sd_vae": vae})
    return caught.value


def test_every_form_of_a_vae_is_found_by_its_names_and_draws_the_same(desk: Desk) -> None:
    own, named = drawn(desk), drawn(desk, NAMED)
    assert named.mean() > own.mean() + 20, "its bias is brightness"
    for name in ("bright", "BRIGHT.safetensors", "prefixed", "more/prefixed.safetensors", "by-diffusers"):
        np.testing.assert_array_equal(drawn(desk, name), named, err_msg=name)
    for name in ("pickled.pt", "folder"):
        np.testing.assert_array_equal(drawn(desk, name), named, err_msg=name)
    for name in ("None", "none", "Automatic", ""):
        np.testing.assert_array_equal(drawn(desk, name), own, err_msg=name)


def test_the_clouds_key_wins_over_the_option(desk: Desk) -> None:
    scripts = {"sd_vae": NAMED}
    body: dict[str, Any] = {"alwayson_scripts": scripts, "override_settings": {"sd_vae": "None"}, "steps": 1}
    np.testing.assert_array_equal(desk.image(**body), drawn(desk, NAMED))


def test_a_vae_is_read_once_and_changes_neither_checkpoint_nor_its_place(desk: Desk, home: Path) -> None:
    path = home / "models" / "VAE" / "passing.safetensors"
    shutil.copyfile(home / "models" / "VAE" / NAMED, path)
    before, with_it = drawn(desk), drawn(desk, "passing")
    loads = desk.handler.stats.model_loads._value.get()
    plan = desk.plan(override_settings={"sd_vae": "passing"})
    path.unlink()
    job = plan.job
    checkpoint = desk.handler._models.checkpoint(job.model)
    own = checkpoint.vae
    again = desk.handler._models.with_vae(checkpoint, job.vaes[job.model])
    assert again.unet is checkpoint.unet
    assert again.conditionings is checkpoint.conditionings
    assert checkpoint.vae is own
    np.testing.assert_array_equal(drawn(desk), before)
    assert desk.handler.stats.model_loads._value.get() == loads
    assert difference(with_it, before) > 10
    held = desk.handler.describe()["models"]
    assert isinstance(held, list)
    mine = next(one for one in held if one["name"] == "passing.safetensors")
    assert (mine["kind"], mine["tier"]) == ("vae", "device")
    assert mine["bytes"] == sum(tensor.nbytes for tensor in again.vae.state_dict().values())


def test_a_vae_that_is_replaced_is_read_again(desk: Desk, home: Path) -> None:
    path = home / "models" / "VAE" / "changing.safetensors"
    shutil.copyfile(home / "models" / "VAE" / NAMED, path)
    before = drawn(desk, "changing")
    save_file(vae_weights(home / "parts" / "sd1"), path, {"format": "pt", "longer": "header"})
    np.testing.assert_array_equal(drawn(desk, "changing"), drawn(desk, "None"))
    assert difference(drawn(desk, "None"), before) > 10
    path.unlink()


def test_the_one_beside_a_checkpoint_is_automatic(desk: Desk, beside_sd1: Path) -> None:
    named, own = drawn(desk, NAMED), drawn(desk, "None")
    np.testing.assert_array_equal(drawn(desk), named)
    np.testing.assert_array_equal(drawn(desk, "sd1.vae.safetensors"), named)
    assert difference(own, named) > 10
    assert "VAE: sd1.vae.safetensors" in desk.txt2img(steps=1).info["infotexts"][0]


def test_whether_a_name_wins_over_the_one_beside_is_an_option(
    desk: Desk, beside_sd1: Path, home: Path
) -> None:
    own = home / "models" / "VAE" / "own.safetensors"
    save_file(vae_weights(home / "parts" / "sd1"), own)
    np.testing.assert_array_equal(drawn(desk, "own"), drawn(desk, "None"))
    first = {"sd_vae_overrides_per_model_preferences": False}
    np.testing.assert_array_equal(drawn(desk, "own", **first), drawn(desk, NAMED))
    np.testing.assert_array_equal(drawn(desk, "None", **first), drawn(desk, "None"))
    own.unlink()


def test_an_unknown_name_is_refused_with_those_there_are(desk: Desk) -> None:
    error = refusal(desk, "nobody.pt")
    assert (error.field, error.status) == ("sd_vae", 422)
    assert "'nobody.pt'" in error.message
    assert f"Automatic, None, {NAMED}, by-diffusers.safetensors" in error.message


def test_a_pickle_is_refused_before_it_is_looked_at_where_those_are_not_allowed(home: Path) -> None:
    error = refusal(Desk(home, default_checkpoint="sd1"), "pickled")
    assert error.field == "sd_vae"
    assert "EASEL_ALLOW_PICKLE" in error.message


@pytest.mark.parametrize(
    ("vae", "checkpoint", "said"),
    [
        ("for-xl", "sd1", "for latents times 0.13025, the checkpoint's are times 0.18215"),
        ("folder", "sdxl", "for latents times 0.18215, the checkpoint's are times 0.13025"),
        ("wide", "sd1", "have 16 channels, those of sd1 4"),
    ],
)
def test_a_vae_of_another_family_is_the_clients_mistake(
    desk: Desk, vae: str, checkpoint: str, said: str
) -> None:
    with pytest.raises(JobError, match=said) as caught:
        drawn(desk, vae, sd_model_checkpoint=checkpoint)
    failure = desk.handler.explain(caught.value)
    assert (failure.code, failure.retry) == (422, False)
    assert failure.message.startswith("sd_vae: ")


def test_an_xl_vae_draws_for_xl(desk: Desk) -> None:
    xl = {"sd_model_checkpoint": "sdxl"}
    assert difference(drawn(desk, "for-xl", **xl), drawn(desk, **xl)) > 5


def test_a_file_that_is_no_vae_says_so(desk: Desk) -> None:
    with pytest.raises(JobError, match=r"sd_vae: .*lora\.safetensors: .*it is no VAE"):
        drawn(desk, "lora")


def test_infotexts_tell_its_name_and_hash_as_the_options_say(desk: Desk, home: Path) -> None:
    digest = hashlib.sha256((home / "models" / "VAE" / NAMED).read_bytes()).hexdigest()[:10]
    answer = desk.txt2img(steps=1, override_settings={"sd_vae": NAMED})
    assert (answer.info["sd_vae_name"], answer.info["sd_vae_hash"]) == (NAMED, digest)
    assert f"VAE hash: {digest}, VAE: {NAMED}, " in infotext_of(answer.body["images"][0])
    quiet = {"sd_vae": NAMED, "add_vae_name_to_info": False, "add_vae_hash_to_info": False}
    assert "VAE" not in desk.txt2img(steps=1, override_settings=quiet).info["infotexts"][0]
    plain = desk.txt2img(steps=1).info
    assert (plain["sd_vae_name"], plain["sd_vae_hash"]) == (None, None)


def test_the_picture_given_is_encoded_with_it_and_a_hires_pass_decodes_with_it(desk: Desk) -> None:
    seen: list[str] = []
    model = desk.plan().job.model
    checkpoint = desk.handler._models.checkpoint(model)
    vae = desk.plan(override_settings={"sd_vae": NAMED}).job.vaes[model]
    other = desk.handler._models.with_vae(checkpoint, vae).vae
    hooks = [
        part.register_forward_hook(lambda *_, said=said: seen.append(said))
        for module, owner in ((checkpoint.vae, "own"), (other, "named"))
        for part, said in ((module.encoder, f"{owner} encodes"), (module.decoder, f"{owner} decodes"))
    ]
    drawn_with = {"override_settings": {"sd_vae": NAMED}, "steps": 1}
    desk.image(enable_hr=True, hr_scale=1.5, hr_upscaler="Lanczos", **drawn_with)
    assert seen == ["named decodes", "named encodes", "named decodes"]
    for hook in hooks:
        hook.remove()


def test_it_is_an_axis_of_the_plot_whatever_the_request_has_itself(desk: Desk) -> None:
    body: dict[str, Any] = {
        "script_name": "x/y/z plot",
        "script_args": [
            "VAE",
            f"None, {NAMED}",
            "",
            "Nothing",
            "",
            "",
            "Nothing",
            "",
            "",
            False,
            True,
            False,
        ],
        "alwayson_scripts": {"sd_vae": "by-diffusers"},
        "steps": 1,
    }
    pictures = desk.images(**body)
    np.testing.assert_array_equal(pictures[0], drawn(desk, "None"))
    np.testing.assert_array_equal(pictures[1], drawn(desk, NAMED))


def test_what_a_worker_holds_is_in_its_heartbeat_and_best_first_for_the_queue(desk: Desk) -> None:
    drawn(desk, sd_model_checkpoint="sdxl")
    drawn(desk, sd_model_checkpoint="sd1")
    held = desk.handler.describe()
    assert held["checkpoint"] == "sd1"
    assert list(desk.handler.at_hand())[:3] == ["checkpoint:sd1", "checkpoint:", "checkpoint:sdxl"]
    models = held["models"]
    assert isinstance(models, list)
    assert {one["name"] for one in models if one["kind"] == CHECKPOINT} == {"sd1", "sdxl"}
    assert all(one["bytes"] > 0 and one["tier"] == "device" for one in models)


def test_switching_between_cached_checkpoints_reads_no_file(desk: Desk, home: Path) -> None:
    folder = home / "models" / "Stable-diffusion"
    names = ("sd1", "sdxl")
    pictures = [drawn(desk, sd_model_checkpoint=name) for name in names]
    loads = desk.handler.stats.model_loads._value.get()
    plans = [desk.plan(steps=1, override_settings={"sd_model_checkpoint": name}) for name in names]
    away = folder.rename(home / "away")
    try:
        for _ in range(2):
            for plan, picture in zip(plans, pictures, strict=True):
                np.testing.assert_array_equal(desk.draw(plan), picture)
    finally:
        away.rename(folder)
    assert desk.handler.stats.model_loads._value.get() == loads
