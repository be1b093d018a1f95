"""GFPGAN and CodeFormer, by name, on the faces of a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from easel_contract.upscalers import find_detector, find_restorer
from easel_worker.faces.align import crop_face, paste_face, similarity
from easel_worker.models.shelf import FACE_DETECTOR, FACE_RESTORER, OneOfEach, Shelf
from easel_worker.upscaling.errors import WeightsError

if TYPE_CHECKING:
    import torch

    from easel_worker.faces.retinaface import RetinaFace

SHARE = 0.5
"""CodeFormer's default weight: 0 restores most, 1 changes least."""


def _nothing() -> None:
    pass


class FaceRestorers:
    """The face restorers of one worker. Lives on the torch thread, but for `check`.

    Args:
        models: The folder ``models/``.
        device: Tells the device; asked when the first network is loaded.
        allow_pickle: Whether weights may be pickles.
        shelf: Keeps loaded networks; by default the last detector and the last restorer.
    """

    def __init__(
        self,
        models: Path,
        device: Callable[[], torch.device],
        *,
        allow_pickle: bool,
        shelf: Shelf | None = None,
    ) -> None:
        self._models = models
        self._device = device
        self._allow_pickle = allow_pickle
        self._shelf = shelf or OneOfEach()

    def check(self, name: str, *, field: str) -> None:
        """Whether the files that a restorer needs are there. Any thread may ask.

        Raises:
            ContractError: 422, names the missing file.
        """
        find_restorer(self._models, name, field=field)
        find_detector(self._models, name, field=field)

    def restore(
        self,
        name: str,
        picture: Image.Image,
        *,
        weight: float = SHARE,
        field: str = "restore_faces",
        tick: Callable[[], None] = _nothing,
    ) -> Image.Image:
        """`picture` with its faces restored, in its own size and mode (RGB or RGBA). No face: unchanged.

        Args:
            name: ``GFPGAN`` or ``CodeFormer``.
            picture: RGB or RGBA.
            weight: CodeFormer's; GFPGAN has none.
            field: What errors name.
            tick: Called before each face; raises to stop.

        Raises:
            ContractError: 422, a file is missing; 501, the library is.
            WeightsError: a file cannot be used.
        """
        from easel_worker.faces.retinaface import find_faces

        result = picture.convert("RGB")
        faces = find_faces(self._load_detector(name, field), result)
        if not faces:
            return picture
        restorer = self._load_restorer(name, field)
        for face in faces:
            tick()
            matrix = similarity(face.landmarks)
            if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:, :2])) < 1e-9:
                continue  # landmarks in one spot are no face
            restored = _apply(restorer, crop_face(result, matrix), weight)
            result = paste_face(result, restored, matrix)
        if picture.mode == "RGBA":
            result.putalpha(picture.getchannel("A"))
        return result

    def unload(self) -> None:
        """Forget what is loaded."""
        self._shelf.forget(FACE_DETECTOR)
        self._shelf.forget(FACE_RESTORER)

    def _load_detector(self, name: str, field: str) -> RetinaFace:
        from easel_worker.faces.retinaface import load_detector

        path = find_detector(self._models, name, field=field)
        return self._shelf.get(
            FACE_DETECTOR,
            path.stem,
            [path],
            lambda: load_detector(path, device=self._device(), allow_pickle=self._allow_pickle),
        )

    def _load_restorer(self, name: str, field: str) -> Any:
        from easel_worker.upscaling.architectures import build
        from easel_worker.upscaling.weights import read_weights

        path = find_restorer(self._models, name, field=field)

        def load() -> Any:
            descriptor = build(read_weights(path, allow_pickle=self._allow_pickle), path)
            if descriptor.purpose != "FaceSR":
                raise WeightsError(f"{path} is a {descriptor.architecture.name} and restores no faces")
            return descriptor.to(self._device()).model

        return self._shelf.get(FACE_RESTORER, name, [path], load)


def _apply(model: Any, face: Image.Image, weight: float) -> Image.Image:
    """One crop through the network. Both take and make -1 to 1; noise is the file's own, not drawn anew."""
    import torch

    device = next(model.parameters()).device
    pixels = np.asarray(face, np.float32).transpose(2, 0, 1) / 127.5 - 1.0
    with torch.inference_mode():
        made = model(
            torch.from_numpy(np.ascontiguousarray(pixels))[None].to(device),
            weight=weight,
            randomize_noise=False,
        )[0]
    values = made[0].float().clamp(-1, 1).cpu().numpy().transpose(1, 2, 0)
    if not np.isfinite(values).all():
        raise WeightsError(
            "the face restorer's network makes values that are not numbers; is its file whole?"
        )
    return Image.fromarray(((values + 1.0) * 127.5 + 0.5).astype(np.uint8))
