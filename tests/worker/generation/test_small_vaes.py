"""TAESD in the VAE's place: which half of it a request asks for, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import easel_shapes
from easel_contract.infotext import parse
from easel_worker.diffusion.decode import decode
from easel_worker.diffusion.encode import encode
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.taesd import TaesdFiles

from ..desk import SMALL, Answer, Desk, Pixels, as_text, difference, infotext_of
from ..diffusion.small_taesd import write_taesd

ENCODE, DECODE = {"sd_vae_encode_method": "TAESD"}, {"sd_vae_decode_method": "taesd"}


@pytest.fixture(scope="module")
def own(desk: Desk) -> Iterator[Desk]:
    """The shared model, and TAESD's files where there were none."""
    data_dir = desk.settings.data_dir
    own = Desk(data_dir, default_checkpoint=easel_shapes.NAME)
    with pytest.raises(
        JobError, match=r"sd_vae_decode_method: .*VAE-approx/taesd_decoder.safetensors is missing"
    ):
        own.image(steps=1, override_settings=DECODE)
    write_taesd(own.models / "VAE-approx")
    yield own
    for path in (own.models / "VAE-approx").iterdir():
        path.unlink()


def picture() -> Image.Image:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    return Image.fromarray(np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], ramp[::-1, None]), -1))


def test_a_missing_file_is_the_clients_to_avoid(desk: Desk) -> None:
    with pytest.raises(JobError) as caught:
        desk.image(steps=1, override_settings={"sd_vae_decode_method": "TAESD"})
    failure = desk.handler.explain(caught.value)
    assert (failure.code, failure.retry) == (422, False)
    assert "taesd_decoder.safetensors is missing; or leave it at 'Full'" in failure.message


@torch.inference_mode()
def test_each_half_takes_the_place_of_the_vaes(own: Desk) -> None:
    checkpoint = own.handler._models.checkpoint(own.plan().job.model)
    files = TaesdFiles(own.models / "VAE-approx")
    small = replace(checkpoint, encoder=files.encoder(checkpoint), decoder=files.decoder(checkpoint))
    latents = torch.randn(2, 4, 6, 4, generator=torch.Generator().manual_seed(1))
    np.testing.assert_array_equal(decode(small, latents), files.decoder(checkpoint)(latents))
    pixels = torch.from_numpy(np.asarray(picture(), np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    torch.testing.assert_close(encode(small, [picture()]), files.encoder(checkpoint)(pixels))
    assert difference(decode(small, latents), decode(checkpoint, latents)) > 1
    assert (encode(small, [picture()]) - encode(checkpoint, [picture()])).abs().mean() > 0.01


@pytest.mark.parametrize(
    ("options", "fields", "told"),
    [
        (DECODE, {}, {"VAE Decoder"}),
        (ENCODE, {}, set()),
        (ENCODE, {"enable_hr": True, "hr_scale": 1.5}, set()),
        (ENCODE, {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Lanczos"}, {"VAE Encoder"}),
        (
            ENCODE | DECODE,
            {"enable_hr": True, "firstpass_image": as_text(picture())},
            {"VAE Encoder", "VAE Decoder"},
        ),
    ],
)
def test_what_is_told_is_what_was_done(
    own: Desk, options: dict[str, str], fields: dict[str, Any], told: set[str]
) -> None:
    answer = own.txt2img(steps=2, override_settings=options, **fields)
    drawn = answer.pixels[0]
    text = infotext_of(answer.body["images"][0])
    assert {key for key in ("VAE Encoder", "VAE Decoder") if f"{key}: TAESD" in text} == told
    plain: Pixels = own.image(steps=2, **fields)
    assert (difference(drawn, plain) > 0.5) == bool(told)
    if "firstpass_image" not in fields:
        again = own.image(**dict.fromkeys(SMALL), infotext=text)
        np.testing.assert_array_equal(again, drawn)


def test_img2img_encodes_with_it(own: Desk) -> None:
    def answer(**options: str) -> Answer:
        return own.img2img(picture(), denoising_strength=0.3, steps=2, override_settings=options)

    plain, small = answer(), answer(**ENCODE)
    assert difference(plain.pixels[0], small.pixels[0]) > 0.5
    assert parse(infotext_of(small.body["images"][0]))["VAE Encoder"] == "TAESD"
    assert parse(infotext_of(plain.body["images"][0]))["VAE Encoder"] == "Full", "nothing was written"


def test_it_tiles_with_the_job(own: Desk) -> None:
    own.image(steps=1, override_settings=DECODE)
    [network] = [net for key, net in own.handler._taesd._loaded.items() if key[0] == "taesd_decoder"]
    modes: list[str] = []
    hook = network.register_forward_pre_hook(lambda module, inputs: modes.append(module[1].padding_mode))
    try:
        own.image(steps=1, override_settings=DECODE, tiling=True)
    finally:
        hook.remove()
    assert modes == ["circular"]
    assert network[1].padding_mode == "zeros"
