"""From the units of a request to those of a job: files found, pictures opened. In the prefetch stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from easel_contract.controlnet import (
    MODULES,
    ControlFile,
    ControlFiles,
    ControlUnit,
    ResizeMode,
    UnionControlType,
)
from easel_contract.controlnet.combining import Init, UnusableError
from easel_contract.controlnet.idle import without
from easel_contract.errors import ContractError
from easel_contract.requests import GenerationRequest
from easel_worker.annotators import Annotators, Pixels
from easel_worker.annotators.embeddings import from_text
from easel_worker.annotators.scribbles import CLEAR, FULL
from easel_worker.diffusion.control import ControlKind, file_kind
from easel_worker.diffusion.control.model import WHAT
from easel_worker.diffusion.errors import CheckpointError
from easel_worker.generation.control.eyes import eyes_for, require_eyes
from easel_worker.generation.control.kinds import Kind, check_kind, kind_of
from easel_worker.generation.control.unit import Mask, Unit, UnitImage
from easel_worker.generation.control.windows import check_steps
from easel_worker.generation.job import Job
from easel_worker.imaging.masks import mask_from

Open = Callable[[str, str], Image.Image]
"""(text, field) -> the picture of a request, "RGB" or "RGBA"."""

Idle = Callable[[str, str], None]
"""(field, why): hears of a field that nothing comes of; raises where that is an error."""

BACKGROUND = "#ffffff"
"""What transparent parts of a picture are filled with that nothing else is said about."""


class UnitPlanner:
    """Resolves units. What it holds may be shared between threads. max_bytes: of one embedding."""

    def __init__(self, models: Path, annotators: Annotators, *, allow_pickle: bool, max_bytes: int) -> None:
        self._models = models
        self._files = ControlFiles(models / "ControlNet")
        self._annotators = annotators
        self._allow_pickle = allow_pickle
        self._max_bytes = max_bytes

    def units(
        self,
        request: GenerationRequest,
        job: Job,
        open_: Open,
        known: dict[ControlUnit, Unit],
        warnings: list[str],
    ) -> tuple[Unit, ...]:
        """A request's units. Where the service is not strict, those that would do nothing are left out.

        Args:
            job: What the request asks for otherwise.
            known: Those that were resolved for other jobs of the task's script; gets the new ones.
            warnings: Are told what is done otherwise than asked.

        Raises:
            ContractError: as `unit`, and where no step would hear of one.
        """

        def idle(field: str, why: str) -> None:
            if request.strict:
                raise ContractError(why, field=field)
            warnings.append(f"{field}: {why}; it is not looked at")

        init = request.init
        found: list[Unit] = []
        for asked in request.units:
            try:
                if asked not in known:
                    known[asked] = self.unit(asked, open_, init, idle)
                check_steps(known[asked], request, job)
            except UnusableError as error:
                if request.strict:
                    raise
                warnings.append(f"{error}; the unit is left out")
            else:
                found.append(known[asked])
        return tuple(found)

    def unit(self, asked: ControlUnit, open_: Open, init: Init | None, idle: Idle) -> Unit:
        """One unit, ready for the torch thread.

        Args:
            init: What img2img has for units without a picture or mask of their own; None for txt2img.

        Raises:
            ContractError: 422, naming the unit's field: no such model, one of another kind, a preprocessor
                that cannot run, no picture, a mask of another size or none.
            UnusableError: likewise, it would do nothing.
        """
        kind = kind_of(asked.module)
        file, found = self._file(asked, kind)
        typed = asked.union_control_type is not UnionControlType.UNKNOWN
        if typed and found is not None and found != "union":
            idle(f"{asked.field}.union_control_type", f"is for union ControlNets; this is a {WHAT[found]}")
            asked = without(asked, {"union_control_type"})
        embedded = asked.ipadapter_input or ()
        if kind.looks:
            if not embedded:
                require_eyes(
                    self._models,
                    eyes_for(asked, file),
                    allow_pickle=self._allow_pickle,
                    field=f"{asked.field}.module",
                )
        else:
            self._annotators.check(asked.module, field=f"{asked.field}.module")
        if init is None and not (asked.pictures or embedded):
            raise ContractError("a unit of txt2img needs a picture", field=f"{asked.field}.image")
        images = _images(asked, kind, open_)
        own = _mask(open_(asked.mask, f"{asked.field}.mask")) if asked.mask and not images else None
        if kind is Kind.INPAINT:
            own = None if _blank(own) else own
            _check_masked(asked, images, own, init)
        return Unit(
            asked,
            kind,
            file,
            images=images,
            views=tuple(
                from_text(text, field=f"{asked.field}.ipadapter_input", max_bytes=self._max_bytes)
                for text in embedded
            ),
            mask=own,
            region=_region(asked, open_),
        )

    def _file(self, asked: ControlUnit, kind: Kind) -> tuple[ControlFile | None, ControlKind | None]:
        """The unit's model, and what it is; None for modules that work without one. What a pickle is, nobody
        knows yet: it tells its names only when all of it is read, which is left to the torch thread."""
        field = f"{asked.field}.model"
        if MODULES[asked.module].model_free:
            return None, None
        if asked.model is None:
            raise ContractError(f"{asked.module!r} steers nothing without a model", field=field)
        file = self._files.resolve(asked.model, field=field)
        if file.path.suffix.lower() in ("", ".safetensors"):
            try:
                found = file_kind(file.path)
            except CheckpointError as error:
                raise ContractError(str(error), field=field) from None
            check_kind(found, kind, name=file.name, field=field)
            return file, found
        if not self._allow_pickle:
            raise ContractError(
                f"{file.path.name} is a pickle, which this service does not open (EASEL_ALLOW_PICKLE)",
                field=field,
            )
        return file, None


def _images(asked: ControlUnit, kind: Kind, open_: Open) -> tuple[UnitImage, ...]:
    images = []
    for picture in asked.pictures:
        image = open_(picture.image, f"{asked.field}.{picture.image_field}")
        field = f"{asked.field}.{picture.mask_field}"
        mask = None
        if picture.mask:
            mask = _mask(open_(picture.mask, field))
        elif image.mode == "RGBA" and kind is not Kind.REFERENCE:
            mask = np.asarray(image.getchannel("A"))
            if kind is Kind.INPAINT and mask.min() >= FULL:
                mask = None  # many programs write an alpha channel that says nothing
        if mask is not None and mask.shape != (image.height, image.width):
            raise ContractError(
                f"{mask.shape[1]}x{mask.shape[0]} is not the size of its picture, "
                f"{image.width}x{image.height}",
                field=field,
            )
        if kind.looks and _blank(mask):
            mask = None  # A1111's page sends such with every picture; hiding all of it would leave nothing
        images.append(UnitImage(_pixels(image, kind), mask))
    return tuple(images)


def _check_masked(
    asked: ControlUnit, images: tuple[UnitImage, ...], own: Mask | None, init: Init | None
) -> None:
    """Refuse a unit that would paint nothing: a mask was promised, and there is none on what it looks at."""
    masks = [image.mask for image in images] or [own]
    fills = asked.resize_mode is ResizeMode.RESIZE_AND_FILL if images else init is not None and init.fill
    if fills or (init is not None and init.mask) or not any(_blank(mask) for mask in masks):
        return
    what = "the mask is black" if asked.mask else "the alpha channel of the picture is opaque"
    raise UnusableError(
        f"{what} everywhere, so that nothing is masked; send one that is white where to paint",
        field=f"{asked.field}.mask",
    )


def _blank(mask: Mask | None) -> bool:
    """Whether nothing is masked."""
    return mask is None or int(mask.max()) <= CLEAR


def _region(asked: ControlUnit, open_: Open) -> Mask | None:
    """Where the unit acts; None is everywhere."""
    if not asked.effective_region_mask:
        return None
    field = f"{asked.field}.effective_region_mask"
    mask = _mask(open_(asked.effective_region_mask, field))
    if not mask.any():
        raise UnusableError("is black everywhere: the unit would act nowhere", field=field)
    return mask


def _pixels(image: Image.Image, kind: Kind) -> Pixels:
    if image.mode == "RGBA" and kind is Kind.REFERENCE:
        flat = Image.new("RGB", image.size, BACKGROUND)
        flat.paste(image, mask=image.getchannel("A"))
        image = flat
    return np.asarray(image.convert("RGB"))


def _mask(image: Image.Image) -> Mask:
    return np.asarray(mask_from(image, hard_alpha=False))
