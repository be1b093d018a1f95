"""The listing of checkpoints, from the model directory."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .conftest import RunningGateway


def add(gateway: RunningGateway, name: str, weights: bytes) -> Path:
    folder = gateway.settings.checkpoint_dir / name
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(weights)
    (folder / "model_index.json").write_text("{}")
    return folder


async def test_checkpoints_are_listed_with_the_names_that_requests_may_use(gateway: RunningGateway) -> None:
    response = await gateway.client.get("/sdapi/v1/sd-models")
    assert (response.status_code, response.json()) == (200, [])

    digest = hashlib.sha256(b"weights").hexdigest()
    folder = add(gateway, "easel-shapes", b"weights")
    add(gateway, "Dreamy", b"")

    dreamy, shapes = (await gateway.client.get("/sdapi/v1/sd-models")).json()
    assert shapes == {
        "title": f"easel-shapes [{digest[:10]}]",
        "model_name": "easel-shapes",
        "hash": digest[:10],
        "sha256": digest,
        "filename": str(folder.absolute()),
        "config": None,
    }
    assert dreamy["model_name"] == "Dreamy"
