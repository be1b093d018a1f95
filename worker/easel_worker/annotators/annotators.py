"""Runs the preprocessors by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from easel_contract.controlnet import MODULES, Module, Slider
from easel_contract.controlnet.poses import Pose
from easel_contract.errors import ContractError
from easel_worker.annotators.annotation import Annotation, Controls, Pixels
from easel_worker.annotators.canvas import at_resolution
from easel_worker.annotators.networks import NETWORKS
from easel_worker.annotators.plain import PLAIN
from easel_worker.annotators.plain.masks import INPAINT, inpaint
from easel_worker.annotators.poses import draw_pose
from easel_worker.models.shelf import ANNOTATOR, OneOfEach, Shelf
from easel_worker.upscaling.errors import WeightsError

if TYPE_CHECKING:
    import torch

    from easel_worker.diffusion.attention.clip_vision import ClipView

ENCODERS = frozenset(
    {
        "ip-adapter_clip_sd15",
        "ip-adapter_clip_sdxl",
        "ip-adapter_clip_sdxl_plus_vith",
        "revision_clipvision",
        "revision_ignore_prompt",
    }
)
"""Modules that make no map but an embedding, by CLIP's image encoders."""


class Annotators:
    """The preprocessors of one worker. Those that need no weights run on any thread, the others on the torch
    thread only.

    Args:
        models: The folder ``models/``; weights are looked for in its ``annotators/``.
        device: Tells the device; asked when the first network is loaded.
        allow_pickle: Whether weights may be pickles (``.pth``, ``.pt``).
        shelf: Keeps loaded networks; by default the last one.
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

    def available(self) -> tuple[str, ...]:
        """The names of the modules that would run now. Any thread may ask."""
        return tuple(name for name in MODULES if self._refusal(name, field="module") is None)

    def needs_torch(self, module: str) -> bool:
        """Whether a module must run on the torch thread. Any thread may ask."""
        return module not in PLAIN and module not in INPAINT

    def check(self, module: str, *, field: str) -> None:
        """Whether a module would run. Any thread may ask.

        Raises:
            ContractError: 422: a file is missing (says which, and where it belongs) or is a pickle that is
                not allowed, or nothing here can run this module.
        """
        if (refusal := self._refusal(module, field=field)) is not None:
            raise refusal

    def run(
        self,
        module: str,
        picture: Pixels,
        *,
        mask: NDArray[np.uint8] | None = None,
        resolution: float | None = None,
        threshold_a: float | None = None,
        threshold_b: float | None = None,
        seed: int = 0,
        field: str = "module",
    ) -> Annotation:
        """What a module makes of a picture.

        Args:
            module: Canonical name.
            picture: (h, w, 3) RGB.
            mask: (h, w), 255 where it is to be painted; only the inpaint modules look at it.
            resolution: Of the shorter side, in pixels; None, or out of the module's range, is its default.
            threshold_a, threshold_b: Its sliders, likewise.
            seed: Of "shuffle"; (seed + subseed) mod 2**32 of the job.
            field: What errors name.

        Raises:
            ContractError: as `check`; or 422, a file cannot be used (names it).
        """
        self.check(module, field=field)
        known = MODULES[module]
        controls = Controls(_settled(known.a, threshold_a), _settled(known.b, threshold_b), seed)
        picture = np.ascontiguousarray(picture)
        if module in INPAINT:
            return Annotation(inpaint(picture, mask))
        if module in ENCODERS:
            raise ContractError(f"{module!r} makes an embedding and no map", field=field)
        make = PLAIN.get(module)
        if known.resolution is None and make is not None:
            return Annotation(make(picture, controls))
        padded, unpad = at_resolution(picture, round(_settled(known.resolution, resolution)))
        if make is not None:
            return Annotation(unpad(make(padded, controls)))
        with _told_of(field):
            made = self._network(known)(padded, controls, **NETWORKS[module].options)
        if isinstance(made, Pose):
            whole = unpad(padded)
            made = made.model_copy(update={"canvas_width": whole.shape[1], "canvas_height": whole.shape[0]})
            return Annotation(draw_pose(made, body=module != "openpose_faceonly"), poses=(made,))
        return Annotation(unpad(made))

    def embed(
        self, module: str, picture: Pixels, *, mask: NDArray[np.uint8] | None = None, field: str = "module"
    ) -> ClipView:
        """What the encoder of one of `ENCODERS` sees. On the torch thread.

        Args:
            module: Canonical name.
            picture: (h, w, 3) RGB.
            mask: (h, w), 0 hides a pixel.

        Raises:
            ContractError: as `run`.
        """
        self.check(module, field=field)
        paths = tuple(MODULES[module].files(self._models))
        with _told_of(field):
            encoder = self._shelf.get(ANNOTATOR, paths[0].stem, paths, lambda: self._encoder(paths[0]))
        view: ClipView = encoder.look(picture, mask)
        return view

    def unload(self) -> None:
        """Forget what is loaded. On the torch thread."""
        self._shelf.forget(ANNOTATOR)

    def _refusal(self, name: str, *, field: str) -> ContractError | None:
        module = MODULES[name]
        try:
            module.require(self._models, allow_pickle=self._allow_pickle, field=field)
        except ContractError as error:
            return error
        if self.needs_torch(name) and name not in NETWORKS and name not in ENCODERS:
            return ContractError(
                f"{name!r} does nothing by itself; it takes an adapter", field=field, kind="not_supported"
            )
        return None

    def _network(self, module: Module) -> Any:
        """The module's network."""
        place = NETWORKS[module.name].place
        paths = tuple(module.files(self._models))

        def load() -> Any:
            file, _, name = place.partition(":")
            kind = getattr(importlib.import_module(f"easel_worker.annotators.networks.{file}"), name)
            return kind(paths, self._device(), allow_pickle=self._allow_pickle)

        return self._shelf.get(ANNOTATOR, paths[0].stem, paths, load)

    def _encoder(self, path: Path) -> Any:
        import torch

        from easel_worker.diffusion.attention.clip_vision import load_clip_vision
        from easel_worker.diffusion.errors import CheckpointError

        try:
            return load_clip_vision(
                path, device=self._device(), dtype=torch.float32, allow_pickle=self._allow_pickle
            )
        except CheckpointError as error:
            raise WeightsError(str(error)) from error


@contextmanager
def _told_of(field: str) -> Iterator[None]:
    """A file that cannot be used is told of the field that asked for it: another delivery finds the same."""
    try:
        yield
    except WeightsError as error:
        raise ContractError(str(error), field=field, kind="broken_file") from error


def _settled(slider: Slider | None, value: float | None) -> float:
    if slider is None:
        return 0.0
    settled = None if value is None else slider.settle(value)
    return slider.default if settled is None else settled
