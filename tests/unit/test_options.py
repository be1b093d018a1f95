"""The table of options, a client's partial object, and what a task sees of both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from easel_contract.errors import ContractError
from easel_contract.options import OPTIONS, Effect, RenderOptions, check_options, defaults, effective

ROOT = Path(__file__).parents[2]


def refused(given: dict[str, Any], **how: Any) -> ContractError:
    with pytest.raises(ContractError) as caught:
        check_options(given, **how)
    assert caught.value.status == 422
    return caught.value


def test_every_default_is_a_value_of_its_option() -> None:
    given = {key: value for key, value in defaults().items() if OPTIONS[key].effect is not Effect.OPERATOR}
    checked = check_options(given).values
    assert checked == {key: given[key] for key in checked}
    assert given.keys() - checked.keys() == {"sd_checkpoint_hash"}, "only what is computed is left out"


def test_the_typed_view_has_the_same_defaults() -> None:
    view = RenderOptions()
    for key, option in OPTIONS.items():
        if option.effect is Effect.USED:
            value = getattr(view, key)
            assert (list(value) if isinstance(value, tuple) else value) == option.default, key
    with pytest.raises(ValidationError):
        view.eta_ddim = 1.0  # type: ignore[misc]


def test_what_is_said_to_do_something_is_looked_at_somewhere() -> None:
    looks = [*ROOT.glob("worker/easel_worker/**/*.py"), *ROOT.glob("gateway/easel_gateway/**/*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in looks)
    words = set(re.findall(r"\w+", code))
    used = {option.key for option in OPTIONS.values() if option.effect is Effect.USED}
    put_together = {key for key in used if re.fullmatch(r"outdir_((txt2img|img2img)_)?(samples|grids)", key)}
    assert used - put_together <= words


def test_values_may_come_as_clients_write_them() -> None:
    view = effective(
        {},
        {
            "CLIP_stop_at_last_layers": "2",
            "randn_source": "cpu",
            "sd_noise_schedule": " zero terminal snr ",
            "sdxl_clip_l_skip": 1,
            "eta_ancestral": 1,
            "hide_samplers": ["PLMS"],
            "sd_vae": 840000,
        },
    )
    assert (view.CLIP_stop_at_last_layers, view.randn_source) == (2, "CPU")
    assert view.sd_noise_schedule == "Zero Terminal SNR"
    assert view.sdxl_clip_l_skip is True
    assert view.hide_samplers == ("PLMS",)
    assert view.sd_vae == "840000"


def test_a_task_sees_its_own_options_over_the_services_over_the_defaults() -> None:
    stored = {"eta_ddim": 0.5, "comma_padding_backtrack": 0, "gallery_height": "40vh"}
    view = effective(stored, {"eta_ddim": 0.25, "samples_format": None})
    assert (view.eta_ddim, view.comma_padding_backtrack, view.samples_format) == (0.25, 0, "png")
    assert effective(stored, {"eta_ddim": None}).eta_ddim == 0.5, "null is as if it were not given"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("CLIP_stop_at_last_layers", 13, r"less than or equal to 12 \(its default is 1\)"),
        ("CLIP_stop_at_last_layers", "two", "integer"),
        ("eta_ddim", float("nan"), "finite"),
        ("eta_ddim", {"a": 1}, "number"),
        ("randn_source", "TPU", "'GPU', 'CPU' or 'NV'"),
        ("sd_vae_decode_method", "Approx NN", "'Full' or 'TAESD'"),
        ("samples_format", "bmp", "'png', 'jpg'"),
        ("hide_samplers", "PLMS", "list"),
        ("hide_samplers", ["x"] * 201, "at most 200"),
        ("img2img_background_color", "white", "pattern"),
        ("outdir_samples", "x" * 2001, "2000"),
        ("send_seed", "perhaps", "boolean"),
        ("sd_vae", "\ud800", "unicode"),
        ("ESRGAN_tile", 15, "use 0 .the picture whole. or 16 and more"),
        ("token_merging_ratio", 0.95, "less than or equal to 0.9"),
        ("hypertile_enable_unet", True, "not supported.*leave it at False"),
        ("api_forbid_local_requests", False, "operator"),
        ("CLIP_stop_at_last_layer", 2, "did you mean CLIP_stop_at_last_layers"),
        ("ad_model", 2, "GET /sdapi/v1/options"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(key: str, value: object, says: str) -> None:
    error = refused({"send_size": True, key: value})
    assert error.field == f"override_settings.{key}"
    assert re.search(says, error.message), error.message
    assert error.more == ()


def test_all_wrong_keys_are_told_at_once_but_never_thousands() -> None:
    error = refused({"eta_ddim": 9, "n_rows": "x", "nonsense": 1}, field="")
    assert {error.field, *(other.field for other in error.more)} == {"eta_ddim", "n_rows", "nonsense"}
    many = refused({f"key{number}": 1 for number in range(5000)})
    assert len(many.more) < 20


def test_a_key_that_is_no_text_can_still_be_answered() -> None:
    assert refused({"\ud800": 1}).field.encode()


def test_lenient_leaves_unknown_keys_out_and_says_so() -> None:
    checked = check_options({"ad_model": "x", "eta_ddim": 0.5}, strict=False)
    assert checked.values == {"eta_ddim": 0.5}
    (warning,) = checked.warnings
    assert warning.startswith("override_settings.ad_model: ")
    refused({"ad_model": "x", "eta_ddim": 5}, strict=False)


def test_null_is_the_default() -> None:
    assert check_options({"eta_ddim": None, "hide_samplers": None, "sd_model_checkpoint": None}).values == {
        "eta_ddim": 0.0,
        "hide_samplers": [],
        "sd_model_checkpoint": None,
    }
