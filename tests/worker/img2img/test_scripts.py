"""Scripts that make several generations of one request, through the handler."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from PIL import Image

from easel_contract.errors import ContractError
from easel_contract.events import Progress
from easel_worker.job import Job

from ..desk import Answer, Desk
from .scripting import QUICK, refuse, run, told, xyz


def test_sd_upscale_as_a1111s_own_test_has_it(desk: Desk, init: Image.Image) -> None:
    answer = run(desk, "sd upscale", ["", 8, "Lanczos", 2.0], init)
    assert [image.size for image in answer.images] == [(128, 128)]
    assert len(answer.steps) == 9, "three tiles of 64 by three, which share 8 pixels"
    assert (told(answer, "SD upscale overlap"), told(answer, "SD upscale upscaler")) == (["8"], ["Lanczos"])


def test_sd_upscale_has_no_seams_and_enlarges_the_picture(desk: Desk, init: Image.Image) -> None:
    own = run(desk, "sd upscale", ["", 16, 1, 2.0], init, denoising_strength=0).pixels[0].astype(int)
    jumps = np.abs(np.diff(own, axis=1)).mean((0, 2))
    assert jumps[56:72].max() < 3 * np.median(jumps)


def test_sd_upscale_seeds_go_on_from_batch_to_batch_of_tiles(desk: Desk, init: Image.Image) -> None:
    args = ["", 0, "Lanczos", 2.0]
    picture = run(desk, "sd upscale", args, init, n_iter=2)
    assert picture.info["all_seeds"] == [5, 6]
    enlarged = init.resize((128, 128), Image.Resampling.LANCZOS)
    last = desk.img2img(enlarged.crop((64, 64, 128, 128)), seed=5 + 3, **QUICK).pixels[0]
    assert np.abs(picture.pixels[0][64:, 64:].astype(int) - last).max() <= 1


def test_sd_upscale_without_an_upscaler_keeps_the_size(desk: Desk, init: Image.Image) -> None:
    assert run(desk, "sd upscale", ["", 8], init.resize((100, 77))).images[0].size == (96, 72)


def test_outpainting_mk2_as_the_guide_has_it(desk: Desk, init: Image.Image) -> None:
    args = ["Outpainting", 128, 8, ["left", "right", "up", "down"], 1, 0.05]
    answer = run(desk, "outpainting mk2", args, init)
    assert [image.size for image in answer.images] == [(320, 320)]
    assert len(answer.steps) == 4
    assert told(answer, "Script") == ["Outpainting mk2"]
    middle = answer.pixels[0][160 - 8 : 160 + 8, 160 - 8 : 160 + 8]
    assert np.abs(middle.astype(int) - np.asarray(init)[24:40, 24:40]).mean() < 60


def test_outpainting_keeps_what_is_far_from_the_new_part(desk: Desk, init: Image.Image) -> None:
    large = init.resize((128, 128))
    for name, args in (
        ("outpainting mk2", ["", 64, 4, "right"]),
        ("poor man's outpainting", [64, 2, 0, ["right"]]),
    ):
        answer = run(desk, name, args, large)
        assert answer.images[0].size == (192, 128)
        np.testing.assert_array_equal(answer.pixels[0][:, :64], np.asarray(large)[:, :64])
        assert answer.pixels[0][:, 128:].std() > 1


@pytest.mark.parametrize(
    ("curve", "made"), [("Linear", [16, 12, 8, 4]), ("Lazy", [16, 14, 10, 4]), ("Aggressive", [16, 10, 5, 4])]
)
def test_loopback_walks_a_curve_to_the_final_strength(
    curve: str, made: list[int], desk: Desk, init: Image.Image
) -> None:
    answer = run(desk, "loopback", [4, 0.15, curve], init, steps=20, denoising_strength=0.75)
    assert answer.steps == made
    assert answer.info["all_seeds"] == [5, 6, 7, 8]
    strengths = [float(str(text)) for text in told(answer, "Denoising strength")]
    assert [strengths[0], strengths[-1]] == pytest.approx([0.75, 0.15])


def test_loopback_goes_on_from_its_own_results(desk: Desk, init: Image.Image) -> None:
    answer = run(desk, "loopback", [2, 0.5], init, n_iter=2)
    assert answer.info["all_seeds"] == [5, 6, 7, 8]
    again = desk.img2img(answer.images[0], seed=6, **QUICK)
    np.testing.assert_array_equal(again.pixels[0], answer.pixels[1])


def test_loopback_keeps_what_it_drew_under_the_mask(desk: Desk, init: Image.Image, mask: Image.Image) -> None:
    answer = run(desk, "loopback", [2, 0.5], init, mask=mask, inpainting_fill=0)
    assert told(answer, "Masked content") == ["fill", "original"]
    again = desk.img2img(answer.images[0], seed=6, mask=mask, inpainting_fill=1, **QUICK)
    np.testing.assert_array_equal(again.pixels[0], answer.pixels[1])


def test_prompt_matrix_makes_every_combination(desk: Desk) -> None:
    answer = run(desk, "prompt matrix", [False, True, "positive", "comma", 0], prompt="a cat|red| large ,")
    assert answer.info["all_prompts"] == ["a cat", "a cat, red", "a cat, large", "a cat, red, large"]
    assert answer.info["all_seeds"] == [5, 6, 7, 8]
    assert (len(answer.images), answer.info["index_of_first_image"]) == (5, 1)
    grid = answer.images[0]
    assert grid.width > 128
    assert grid.height > 128
    one = desk.txt2img(prompt="a cat, red", seed=6, **QUICK).pixels[0]
    assert np.abs(answer.pixels[2].astype(int) - one).max() <= 1


def test_prompt_matrix_in_other_words(desk: Desk) -> None:
    answer = run(desk, "prompt matrix", [True, False, "negative", "space"], negative_prompt="a|b|c")
    assert answer.info["all_negative_prompts"] == ["a", "b a", "c a", "b c a"]
    assert set(answer.info["all_seeds"]) == {5}


def test_styles_join_each_combination(desk: Desk, data_dir: Any) -> None:
    (data_dir / "styles.csv").write_text('name,prompt,negative_prompt\nfine,"{prompt}, very fine",\n')
    answer = run(desk, "prompt matrix", [], prompt="a|b", styles=["fine"])
    assert answer.info["all_prompts"] == ["a, very fine", "a, b, very fine"]


LINES = "a cat\n\n--prompt a red dog --steps 3 --seed 9 --cfg_scale 2.5\n--prompt 'a fox' --outpath_samples x"


def test_a_generation_for_each_line(desk: Desk) -> None:
    args = [False, False, "start", LINES]
    answer = run(desk, "prompts from file or textbox", args, prompt="drawn", batch_size=2)
    assert answer.info["all_prompts"][::2] == ["a cat drawn", "a red dog drawn", "a fox drawn"]
    assert answer.info["all_seeds"] == [5, 6, 9, 10, 5, 6]
    assert told(answer, "Steps") == ["2", "2", "3", "3", "2", "2"]
    assert told(answer, "CFG scale")[2] == "2.5"


def test_seeds_of_lines(desk: Desk) -> None:
    iterated = run(desk, "prompts from file or textbox", [True, False, "end", "a\nb\nc"], prompt="x")
    assert iterated.info["all_seeds"] == [5, 6, 7]
    assert iterated.info["all_prompts"] == ["x a", "x b", "x c"]
    same = run(desk, "prompts from file or textbox", [False, True, "end", "a\nb"], seed=-1)
    assert len(set(same.info["all_seeds"])) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--nonsense 5", "line 2: '--nonsense' is not one of --prompt"),
        ("--steps", "line 2: --steps has no value"),
        ("--steps many", "line 2: steps:"),
        ("--steps 100000", "line 2: steps: 100000 is more"),
        ("--prompt 'a", "line 2: No closing quotation"),
        ("--sd_model nonsense", "line 2:"),
        ("--sampler_name nonsense", "line 2: sampler_name:"),
        ("--enable_hr true --hr_scale 8 --width 2048", "line 2: hr_scale:"),
        ("--batch_size 8 --n_iter 16\n--batch_size 8 --n_iter 16", "line 3: script_args: the script would"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(line: str, message: str, desk: Desk) -> None:
    with pytest.raises(ContractError) as caught:
        run(desk, "prompts from file or textbox", [False, False, "start", f"a cat\n{line}"])
    assert caught.value.field == "script_args.text"
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("name", "args", "field"),
    [
        ("loopback", [64, 0.5, "Linear", "None"], "script_args"),
        ("loopback", [2, 0.5, "Linear", "CLIP"], "script_args.append_interrogation"),
        ("sd upscale", ["", 8, "nonsense"], "script_args.upscaler"),
        ("sd upscale", ["", 64, "Lanczos"], "script_args.overlap"),
        ("sd upscale", ["", 63, "Lanczos", 8], "script_args"),
        ("outpainting mk2", ["", 1024, 8, ["left", "right"]], "script_args.pixels"),
        ("poor man's outpainting", [1024, 8, 0, ["left", "right"]], "script_args.pixels"),
    ],
)
def test_what_is_too_much_is_refused(
    name: str, args: list[Any], field: str, desk: Desk, init: Image.Image
) -> None:
    assert refuse(desk, name, args, init, n_iter=5).field == field


def test_an_interrupted_plot_ends_with_what_it_has(desk: Desk, init: Image.Image) -> None:
    _interrupted(desk, init, "x/y/z plot", xyz(x="Seed", xs="1-4"), images=2)


def test_an_interrupted_loopback_ends_with_what_it_has(desk: Desk, init: Image.Image) -> None:
    _interrupted(desk, init, "loopback", [4], images=2)


def test_an_interrupted_upscale_is_a_whole_picture(desk: Desk, init: Image.Image) -> None:
    answer = _interrupted(desk, init, "sd upscale", ["", 8, "Lanczos", 2.0], images=1)
    assert answer.images[0].size == (128, 128)


def test_an_interrupted_list_of_prompts_ends_with_what_it_has(desk: Desk, init: Image.Image) -> None:
    _interrupted(desk, init, "prompts from file or textbox", [True, False, "start", "a\nb\nc"], images=2)


def _interrupted(desk: Desk, init: Image.Image, name: str, args: list[Any], *, images: int) -> Answer:
    """Interrupt in the second pass: no third one begins."""
    passes = []

    def hear(job: Job, progress: Progress) -> None:
        if progress.stage == "sampling" and progress.sampling_step == 1:
            passes.append(progress.batch)
            if len(passes) == 2:
                job.interrupt()

    answer = desk.img2img(init, hear, steps=6, script_name=name, script_args=args)
    assert len(passes) == 2
    assert len(answer.images) == images
    return answer


def test_progress_of_a_script_only_grows(desk: Desk, init: Image.Image) -> None:
    for name, args in (
        ("sd upscale", ["", 8, "Lanczos", 2.0]),
        ("poor man's outpainting", [64, 2, 0, ["right"]]),
        ("x/y/z plot", xyz(x="Steps", xs="1,2")),
    ):
        ratios = [progress.ratio for progress in run(desk, name, args, init).seen.progress]
        assert all(before <= after for before, after in pairwise(ratios))
        assert ratios[-2] == pytest.approx(1), name


def test_the_clouds_shape_has_the_grid_first_and_a_seed_per_picture(desk: Desk) -> None:
    cloud = {"save_dir": "outputs/plots", "id_task": "7"}
    args = xyz(x="Seed", xs="1,2")
    parameters = run(desk, "x/y/z plot", args, alwayson_scripts=cloud).body["parameters"]
    paths = parameters["image_url"].split(",")
    assert (len(paths), parameters["seed"]) == (3, "1,2")
    assert "grid" in paths[0]
    assert not any("grid" in path for path in paths[1:])


def test_pictures_of_a_script_are_saved(desk: Desk, data_dir: Any) -> None:
    before = set(data_dir.rglob("*.png"))
    answer = run(desk, "x/y/z plot", xyz(x="Steps", xs="1,2"), save_images=True)
    assert len(answer.images) == 3
    saved = set(data_dir.rglob("*.png")) - before
    texts = {Image.open(path).info["parameters"] for path in saved}
    assert texts == set(answer.info["infotexts"])
