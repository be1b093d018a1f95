"""`script_name` and `script_args`, as clients send them: by position."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from easel_contract.errors import ContractError
from easel_contract.requests.scripts import (
    IMG2IMG_ONLY,
    Loopback,
    OutpaintingMk2,
    PoorMansOutpainting,
    PromptMatrix,
    PromptsFromFile,
    Script,
    SDUpscale,
    XYZPlot,
    read_script,
)

ALL = ["left", "right", "up", "down"]


def read(name: str, *args: JsonValue, img2img: bool = True) -> Script | None:
    return read_script(name, list(args), img2img=img2img)


@pytest.mark.parametrize("name", [None, "", "None", " none "])
def test_no_script(name: str | None) -> None:
    assert read_script(name, ["x"], img2img=True) is None


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("SD upscale", [], SDUpscale()),
        ("sd Upscale", ["", 8, "Lanczos", 2.0], SDUpscale(overlap=8, upscaler="Lanczos", scale=2.0)),
        ("sd upscale", [None, "8", 1, "1.5", "more"], SDUpscale(overlap=8, upscaler=1, scale=1.5)),
        ("Outpainting mk2", ["Outpainting", 128, 8, ALL, 1, 0.05], OutpaintingMk2(info="Outpainting")),
        ("outpainting MK2", ["", 64, 0, ["up"]], OutpaintingMk2(info="", pixels=64, mask_blur=0,
                                                                directions=("up",))),
        ("outpainting mk2", ["", 64, 0, "left, down"],
         OutpaintingMk2(info="", pixels=64, mask_blur=0, directions=("left", "down"))),
        ("Poor man's outpainting", [64, 2, 3, ["right"]],
         PoorMansOutpainting(pixels=64, mask_blur=2, inpainting_fill=3, directions=("right",))),
        ("Loopback", [2, 0.1, "Lazy", "None"],
         Loopback(loops=2, final_denoising_strength=0.1, curve="lazy", append_interrogation="none")),
        ("prompt matrix", [True, True, "negative", "space", 4],
         PromptMatrix(put_at_start=True, different_seeds=True, prompt_type="negative", separator="space",
                      margin=4)),
        ("Prompts from file or textbox", [True, False, "end", "a\nb"],
         PromptsFromFile(iterate_seed=True, position="end", text="a\nb")),
        ("X/Y/Z plot", ["4", "1-3", [], "Seed", "1", None, 0, "", "", False, True, True, True, True, True,
                        True, 6, False],
         XYZPlot(x_type=4, x_values="1-3", x_values_dropdown=[], y_type="Seed", y_values="1",
                 z_values_dropdown="", draw_legend=False, include_lone_images=True, include_sub_grids=True,
                 no_fixed_seeds=True, vary_seeds_x=True, vary_seeds_y=True, vary_seeds_z=True, margin=6)),
    ],
)  # fmt: skip
def test_arguments_by_position(name: str, args: list[JsonValue], expected: Script) -> None:
    read = read_script(name, args, img2img=True)
    assert read is not None
    assert read.model_dump(exclude={"info"}) == expected.model_dump(exclude={"info"})
    assert type(read) is type(expected)


@pytest.mark.parametrize(
    ("upscaler", "name"), [("Lanczos", "Lanczos"), (0, "None"), (1, "Lanczos"), (2, "Nearest")]
)
def test_upscalers_by_name_or_index(upscaler: int | str, name: str) -> None:
    script = read("sd upscale", "", 64, upscaler)
    assert isinstance(script, SDUpscale)
    assert script.upscaler_name == name


@pytest.mark.parametrize("name", IMG2IMG_ONLY)
def test_scripts_that_need_an_init_image(name: str) -> None:
    with pytest.raises(ContractError, match="it needs an init image") as caught:
        read(name, img2img=False)
    assert caught.value.field == "script_name"


@pytest.mark.parametrize(
    ("name", "args", "field"),
    [
        ("nonsense", [], "script_name"),
        ("sd upscale", ["", "wide"], "script_args.overlap"),
        ("sd upscale", ["", 8, "Lanczos", 100], "script_args.scale"),
        ("outpainting mk2", ["", 128, 8, ["sideways"]], "script_args.directions.0"),
        ("outpainting mk2", ["", 4], "script_args.pixels"),
        ("poor man's outpainting", [64, 4, 9], "script_args.inpainting_fill"),
        ("loopback", [0], "script_args.loops"),
        ("loopback", [2, 0.5, "steep"], "script_args.curve"),
        ("prompt matrix", [False, False, "both"], "script_args.prompt_type"),
        ("prompts from file or textbox", [False, False, "middle"], "script_args.position"),
        ("x/y/z plot", [-1], "script_args.x_type"),
        ("x/y/z plot", [0.5], "script_args.x_type"),
        ("x/y/z plot", [float("inf")], "script_args.x_type"),
        ("x/y/z plot", [True], "script_args.x_type"),
        ("x/y/z plot", [0, "", [], [1]], "script_args.y_type"),
        ("x/y/z plot", [0, 5], "script_args.x_values"),
    ],
)
def test_wrong_arguments_are_named(name: str, args: list[JsonValue], field: str) -> None:
    with pytest.raises(ContractError) as caught:
        read_script(name, args, img2img=True)
    assert (caught.value.status, caught.value.field) == (422, field)
