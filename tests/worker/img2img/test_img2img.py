"""From an init image to pictures: steps, sizes, batches, options; through the handler, without a queue."""

from __future__ import annotations

import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from easel_contract.errors import ContractError
from easel_contract.infotext import parse

from ..desk import BARE, Desk


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize(
    ("steps", "strength", "made"), [(20, 0.75, 16), (20, 0.5, 11), (20, 1.0, 20), (30, 0.4, 13), (20, 0, 1)]
)
def test_as_many_steps_as_a1111(
    steps: int, strength: float, made: int, desk: Desk, init: Image.Image
) -> None:
    answer = desk.img2img(init, steps=steps, denoising_strength=strength)
    assert answer.steps == [made]
    assert [p.sampling_step for p in answer.seen.progress if p.sampling_step][:made] == list(
        range(1, made + 1)
    )


def test_fixed_steps_are_those_asked_for(desk: Desk, init: Image.Image) -> None:
    options = {"img2img_fix_steps": True}
    answer = desk.img2img(init, steps=5, denoising_strength=0.4, override_settings=options)
    assert answer.steps == [5]


def test_the_strength_decides_how_much_changes(desk: Desk, init: Image.Image) -> None:
    own = desk.img2img(init, steps=20, denoising_strength=0).pixels[0]
    little, more = (
        difference(desk.img2img(init, steps=20, denoising_strength=strength).pixels[0], own)
        for strength in (0.1, 0.4)
    )
    assert 0 < little < more


def test_prompt_seed_and_picture_change_the_result(desk: Desk, init: Image.Image) -> None:
    first = desk.img2img(init).pixels[0]
    np.testing.assert_array_equal(desk.img2img(init).pixels[0], first)
    for other in (
        desk.img2img(init, seed=6),
        desk.img2img(init, prompt="a house"),
        desk.img2img(init, negative_prompt="a house"),
        desk.img2img(init.rotate(90)),
        desk.img2img(init, initial_noise_multiplier=0.5),
        desk.img2img(init, override_settings={"img2img_extra_noise": 1}),
        desk.img2img(init, tiling=True),
        desk.img2img(init, sampler_name="DDIM"),
    ):
        assert difference(other.pixels[0], first) > 0.1


def test_a_field_wins_over_its_option(desk: Desk, init: Image.Image) -> None:
    by_option = desk.img2img(init, override_settings={"initial_noise_multiplier": 0.5})
    both = desk.img2img(init, initial_noise_multiplier=0.5, override_settings={"initial_noise_multiplier": 1})
    np.testing.assert_array_equal(by_option.pixels[0], both.pixels[0])
    assert parse(both.info["infotexts"][0])["Noise multiplier"] == "0.5"


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE", "DDIM", "DPM fast"])
def test_an_image_of_a_batch_equals_a_single_run(sampler: str, desk: Desk, init: Image.Image) -> None:
    inits = [init, init.rotate(90)]
    batch = desk.img2img(inits, batch_size=2, n_iter=2, sampler_name=sampler)
    assert batch.info["all_seeds"] == [5, 6, 7, 8]
    for i, pixels in enumerate(batch.pixels):
        single = desk.img2img(inits[i % 2], seed=5 + i, sampler_name=sampler).pixels[0]
        assert np.abs(pixels.astype(int) - single).max() <= 1


def test_one_init_image_serves_the_whole_batch(desk: Desk, init: Image.Image) -> None:
    first, second = desk.img2img(init, batch_size=2).pixels
    assert difference(first, second) > 0.1
    assert np.abs(second.astype(int) - desk.img2img(init, seed=6).pixels[0]).max() <= 1


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_resize_modes_make_the_jobs_size(mode: int, desk: Desk, init: Image.Image) -> None:
    answer = desk.img2img(init.resize((70, 41)), resize_mode=mode, width=72, height=48)
    assert answer.images[0].size == (72, 48)


def test_resize_modes_differ(desk: Desk, init: Image.Image) -> None:
    wide = init.resize((96, 48))
    made = [desk.img2img(wide, resize_mode=mode, denoising_strength=0.2).pixels[0] for mode in range(4)]
    for one in range(4):
        for other in range(one):
            assert difference(made[one], made[other]) > 0.5, (one, other)


def test_a_tall_picture_is_cut_or_bordered_but_never_squeezed(desk: Desk) -> None:
    """A white disc on black stays as wide as it is high in modes 1 and 2."""
    y, x = np.mgrid[-32:32, -64:64]
    disc = Image.fromarray(np.where(x * x + y * y < 20 * 20, 255, 0).astype(np.uint8)).convert("RGB")
    fields = {"sd_model_checkpoint": "easel-shapes"}
    shapes = []
    for mode in (0, 1, 2):
        answer = desk.img2img(
            disc, resize_mode=mode, denoising_strength=0, width=128, height=128, override_settings=fields
        )
        lit = answer.pixels[0].mean(axis=-1) > 128
        shapes.append(np.ptp(np.flatnonzero(lit.any(0))) / np.ptp(np.flatnonzero(lit.any(1))))
    assert shapes[0] == pytest.approx(0.5, abs=0.1)
    assert shapes[1:] == pytest.approx([1, 1], abs=0.1)


def test_transparency_shows_the_background_colour(desk: Desk, init: Image.Image) -> None:
    clear = init.convert("RGBA")
    clear.putalpha(0)
    options = {"img2img_background_color": "#00ff00"}
    green = desk.img2img(clear, denoising_strength=0, override_settings=options).pixels[0]
    plain = desk.img2img(Image.new("RGB", (64, 64), "#00ff00"), denoising_strength=0).pixels[0]
    np.testing.assert_array_equal(green, plain)


def test_colours_are_matched_to_the_init_image(desk: Desk) -> None:
    red = Image.new("RGB", (64, 64), (200, 40, 40))
    options = {"img2img_color_correction": True}
    plain = desk.img2img(red, denoising_strength=1).pixels[0]
    matched = desk.img2img(red, denoising_strength=1, override_settings=options).pixels[0]
    goal = np.array([200, 40, 40])
    assert np.abs(matched.mean((0, 1)) - goal).sum() < 0.5 * np.abs(plain.mean((0, 1)) - goal).sum()


def test_an_upscaler_may_enlarge_the_init_image(desk: Desk, init: Image.Image) -> None:
    small = init.resize((16, 16))
    nearest = desk.img2img(small, denoising_strength=0, override_settings={"upscaler_for_img2img": "Nearest"})
    assert difference(nearest.pixels[0], desk.img2img(small, denoising_strength=0).pixels[0]) > 0.05
    with pytest.raises(ContractError, match="'ESRGAN_4x' needs a file") as caught:
        desk.img2img(small, override_settings={"upscaler_for_img2img": "ESRGAN_4x"})
    assert caught.value.field == "override_settings.upscaler_for_img2img"


def test_the_request_is_echoed_without_its_pictures_unless_asked(
    desk: Desk, init: Image.Image, mask: Image.Image
) -> None:
    echoed = desk.img2img(init, mask=mask, seed=-1).body["parameters"]
    assert (echoed["init_images"], echoed["mask"], echoed["seed"]) == (None, None, -1)
    echoed = desk.img2img(init, mask=mask, include_init_images=True).body["parameters"]
    assert len(echoed["init_images"]) == 1
    assert echoed["mask"]


def test_the_infotext_tells_what_was_done(desk: Desk, init: Image.Image) -> None:
    answer = desk.img2img(init, denoising_strength=0.6, prompt="a cat")
    found = parse(answer.info["infotexts"][0])
    assert (found["Prompt"], found["Denoising strength"], found["Steps"]) == ("a cat", "0.6", "4")
    assert "Mask blur" not in found
    assert answer.images[0].info["parameters"] == answer.info["infotexts"][0]
    assert answer.info["denoising_strength"] == 0.6


def test_what_is_no_picture_is_named(desk: Desk, init: Image.Image) -> None:
    with pytest.raises(ContractError) as caught:
        desk.img2img([init, "aGVsbG8="], batch_size=2)  # type: ignore[list-item] # that is the point
    assert caught.value.field == "init_images.1"


@pytest.fixture
def site(init: Image.Image) -> Iterator[str]:
    """The init image at an address on this machine."""
    file = io.BytesIO()
    init.save(file, "PNG")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(file.getvalue())))
            self.end_headers()
            self.wfile.write(file.getvalue())

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/picture.png"
        server.shutdown()
        thread.join()


def test_an_image_link_is_fetched_from_where_the_operator_allows(
    site: str, desk: Desk, init: Image.Image, data_dir: Path
) -> None:
    port = int(site.rsplit(":", 1)[1].split("/")[0])
    allowing = Desk(data_dir, BARE, image_url_local_hosts=("127.0.0.1",), image_url_ports=(port,))
    linked = allowing.img2img(alwayson_scripts={"image_link": site})
    np.testing.assert_array_equal(linked.pixels[0], desk.img2img(init).pixels[0])
    with pytest.raises(ContractError) as caught:
        desk.img2img(alwayson_scripts={"image_link": site})
    assert caught.value.field == "alwayson_scripts.image_link"
