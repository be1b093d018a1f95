"""What the tests of A1111's dialect share: its own test requests, pictures, and a host to fetch them from."""

from __future__ import annotations

import base64
import http.server
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

TXT2IMG = "/sdapi/v1/txt2img"
IMG2IMG = "/sdapi/v1/img2img"
ALICE, BOB = ("alice", "alices-word"), ("bob", "bobs-word")
"""Users with passwords, as A1111's --api-auth has them."""

BASE = {
    "batch_size": 1,
    "cfg_scale": 7,
    "denoising_strength": 0,
    "enable_hr": False,
    "eta": 0,
    "firstphase_height": 0,
    "firstphase_width": 0,
    "height": 64,
    "n_iter": 1,
    "negative_prompt": "",
    "prompt": "example prompt",
    "restore_faces": False,
    "s_churn": 0,
    "s_noise": 1,
    "s_tmax": 0,
    "s_tmin": 0,
    "sampler_index": "Euler a",
    "seed": -1,
    "seed_resize_from_h": -1,
    "seed_resize_from_w": -1,
    "steps": 3,
    "styles": [],
    "subseed": -1,
    "subseed_strength": 0,
    "tiling": False,
    "width": 64,
}
"""The txt2img request of A1111's own tests."""


def gradient(size: tuple[int, int] = (64, 64)) -> Image.Image:
    """A picture with something to see in every part."""
    ramp = Image.linear_gradient("L").resize(size)
    return Image.merge("RGB", (ramp, ramp.transpose(Image.Transpose.ROTATE_90), Image.new("L", size, 90)))


def half_mask(size: tuple[int, int] = (64, 64)) -> Image.Image:
    """The right half is white: to be painted anew."""
    mask = Image.new("L", size)
    mask.paste(255, (size[0] // 2, 0, *size))
    return mask


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def data_uri(image: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def img2img_base() -> dict[str, Any]:
    """The img2img request of A1111's own tests."""
    mine = {key: value for key, value in BASE.items() if not key.startswith(("enable_hr", "firstphase"))}
    return mine | {
        "denoising_strength": 0.75,
        "include_init_images": False,
        "init_images": [data_uri(gradient())],
        "inpaint_full_res": False,
        "inpaint_full_res_padding": 0,
        "inpainting_fill": 0,
        "inpainting_mask_invert": False,
        "mask": None,
        "mask_blur": 4,
        "override_settings": {},
        "resize_mode": 0,
    }


def pixels(image: str | Image.Image) -> NDArray[np.int16]:
    """A picture's numbers, of one that is open or of an answer's base64."""
    if isinstance(image, str):
        image = Image.open(io.BytesIO(base64.b64decode(image, validate=True)))
    return np.asarray(image.convert("RGB")).astype(np.int16)


def rendered(client: httpx.Client, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """An answer that must be 200, and its `info`."""
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    answer = response.json()
    return answer, json.loads(answer["info"])


class PictureHost:
    """A host on this machine with one picture, and with addresses that lead elsewhere."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.authority = f"{address[0]}:{address[1]}"
        self.url = f"http://{self.authority}"
        self.asked: list[str] = []


@contextmanager
def picture_host(image: Image.Image) -> Iterator[PictureHost]:
    """Serves `image` at every path; ``/to?<address>`` redirects there."""
    body = png(image)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host.asked.append(self.path)
            if self.path.startswith("/to?"):
                self.send_response(302)
                self.send_header("Location", self.path.partition("?")[2])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Not on the tests' output."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        host = PictureHost((str(server.server_address[0]), server.server_address[1]))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield host
        server.shutdown()
        thread.join()
