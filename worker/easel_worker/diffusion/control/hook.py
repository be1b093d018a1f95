"""A unit in a pass: when its network runs, on which rows, and what becomes of what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch.nn import functional

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.control.adapter import Adapter
from easel_worker.diffusion.control.args import UNKNOWN, ControlArgs
from easel_worker.diffusion.control.model import WHAT, ControlModel
from easel_worker.diffusion.control.network import Network
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.guidance_hooks import Residuals, UNetInput
from easel_worker.diffusion.tiling import tiling
from easel_worker.diffusion.unet_batch import Call


def control_hook(
    model: ControlModel, hint: torch.Tensor, args: ControlArgs, checkpoint: Checkpoint
) -> ControlHook:
    """A `ResidualHook` for one unit in one pass.

    Args:
        model: On the checkpoint's device, in its number format.
        hint: (1 or images, 3, H, W), 0 to 1 (inpainting: -1 where the mask is), of the size that the pass
            draws.
        args: See there.
        checkpoint: What the pass begins with. Where a refiner takes over that the model does not fit, control
            ends.

    Raises:
        JobError: the model does not fit the checkpoint, or an argument the model; names unit and field.
        CheckpointError: the model's file lacks weights, or has some of other shapes.
    """
    return ControlHook(model, hint, args, checkpoint)


@dataclass(frozen=True, eq=False)
class _Rows:
    """What stays the same for all calls with one layout.

    places: of the rows that are controlled, None for all. images: the image of each of them.
    """

    places: torch.Tensor | None
    images: torch.Tensor
    hint: torch.Tensor
    context: torch.Tensor
    extras: torch.Tensor | None


class ControlHook:
    """See `control_hook`; called once for each forward pass of the UNet."""

    def __init__(
        self, model: ControlModel, hint: torch.Tensor, args: ControlArgs, checkpoint: Checkpoint
    ) -> None:
        misfit = model.misfit(checkpoint.unet)
        if misfit is not None:
            raise JobError(f"{args.field}.model: {model.name} {misfit}")
        if args.union_type != UNKNOWN and model.kind != "union":
            raise JobError(
                f"{args.field}.union_control_type: is for union ControlNets; {model.name} is a"
                f" {WHAT[model.kind]}"
            )
        self.model = model
        self.args = args
        self._hint = hint
        self._weights = args.layer_weights(model.layers, adapter=model.kind == "t2i", accepts=model.accepts)
        self._masks: dict[tuple[int, int], torch.Tensor] = {}
        self._attach(checkpoint)

    @property
    def silent(self) -> bool:
        """Whether it adds nothing at any step, and so never runs."""
        return not any(self._weights)

    def __call__(self, inputs: UNetInput) -> Residuals | None:
        """What the unit adds in this forward pass; None where it does not act."""
        if self.silent or not self.args.acts_at(inputs.progress):
            return None
        if inputs.checkpoint.unet is not self._unet:
            self._attach(inputs.checkpoint)
        if self._attached is None or not self._controlled(inputs.rows):
            return None
        with self._attached.running(), tiling(self._attached.module, enabled=self.args.tiling):
            if isinstance(self._attached, Network):
                return self._residuals(self._attached, inputs)
            return self._features(self._attached, inputs)

    def _attach(self, checkpoint: Checkpoint) -> None:
        """Go on beside this checkpoint, or not at all where it is of another kind (a refiner)."""
        self._unet = checkpoint.unet
        fits = self.model.misfit(checkpoint.unet) is None
        self._attached: Network | Adapter | None = self.model.attach(checkpoint.unet) if fits else None
        self._hint = self._hint.to(device=checkpoint.device, dtype=checkpoint.dtype)
        self._embedded: torch.Tensor | None = None
        self._scaled: list[torch.Tensor] | None = None
        self._rows: WeakKeyDictionary[Call, _Rows] = WeakKeyDictionary()
        self._within: WeakKeyDictionary[Call, Residuals] = WeakKeyDictionary()
        if isinstance(self._attached, Network):
            try:
                self._type = self._attached.control_type(self.args.union_type)
            except ValueError as error:
                raise JobError(f"{self.args.field}.union_control_type: {error}") from error

    @property
    def _pooled(self) -> bool:
        return isinstance(self._attached, Network) and (self._attached.pooled or self.args.pooled)

    def _controlled(self, call: Call) -> list[int]:
        """The rows that are controlled."""
        if not (self.args.positive_only or self._pooled):
            return list(range(len(call.kinds)))
        return [place for place, kind in enumerate(call.kinds) if kind == "positive"]

    def _residuals(self, net: Network, inputs: UNetInput) -> Residuals:
        call = inputs.rows
        rows = self._rows.get(call)
        if rows is None:
            rows = self._rows[call] = self._lay_out(net, call)
        sample, timesteps = inputs.sample, inputs.timesteps
        if rows.places is not None:
            sample, timesteps = sample[rows.places], timesteps[rows.places]
        found = net.residuals(sample, timesteps, rows.context, rows.hint, rows.extras)
        shaped = [
            _spread(self._shape(one, weight, rows.images), rows.places, len(call.kinds))
            for one, weight in zip(found, self._weights, strict=True)
        ]
        return Residuals(down=shaped[:-1], middle=shaped[-1])

    def _lay_out(self, net: Network, call: Call) -> _Rows:
        if self._embedded is None:
            self._embedded = net.embed_hint(_channels_last(self._hint), self._type)
        controlled = self._controlled(call)
        places = None
        if len(controlled) < len(call.kinds):
            places = torch.tensor(controlled, device=call.images.device)
        images = call.images if places is None else call.images[places]
        added: Mapping[str, torch.Tensor] | None = call.added
        if added is not None and places is not None:
            added = {name: tensor[places] for name, tensor in added.items()}
        return _Rows(
            places=places,
            images=images,
            hint=_channels_last(_per_row(self._embedded, images)),
            context=call.context if places is None else call.context[places],
            extras=net.embed_extras(added, self._type, self._hint.dtype, self._hint.device),
        )

    def _features(self, adapter: Adapter, inputs: UNetInput) -> Residuals:
        """A T2I-adapter's, which are the same in every call with one layout."""
        call = inputs.rows
        found = self._within.get(call)
        if found is None:
            if self._scaled is None:
                self._scaled = adapter.features(_channels_last(self._hint))
            controlled = torch.tensor(self._controlled(call), device=call.images.device)
            places = None if len(controlled) == len(call.kinds) else controlled
            images = call.images if places is None else call.images[places]
            rows = [
                self._shape(_per_row(one, images).expand(len(images), -1, -1, -1).clone(), weight, images)
                for one, weight in zip(self._scaled, self._weights, strict=True)
            ]
            within = [_spread(one, places, len(call.kinds)) for one in rows]
            found = self._within[call] = Residuals(within=within)
        return found

    def _shape(self, residual: torch.Tensor, weight: float, images: torch.Tensor) -> torch.Tensor:
        """A residual as the unit's settings leave it; changed in place."""
        size = (residual.shape[-2], residual.shape[-1])
        if self._pooled:
            residual = residual.mean(dim=(2, 3), keepdim=True)
        if weight != 1.0:
            residual = residual.mul_(weight)
        if self.args.region_mask is None:
            return residual
        mask = _per_row(self._mask(self.args.region_mask, size), images)
        return residual * mask if self._pooled else residual.mul_(mask)

    def _mask(self, mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        found = self._masks.get(size)
        if found is None:
            resized = functional.interpolate(mask.float(), size=size, mode="bilinear", align_corners=False)
            found = self._masks[size] = resized.to(self._hint)
        return found


def _per_row(of_images: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """One per row where images differ; where there is one for all, that."""
    return of_images if len(of_images) == 1 else of_images.index_select(0, images)


def _spread(residual: torch.Tensor, places: torch.Tensor | None, rows: int) -> torch.Tensor:
    """`residual` at its places among all rows, and nothing at the others'."""
    if places is None:
        return residual
    spread = torch.zeros(
        (rows, *residual.shape[1:]), dtype=residual.dtype, device=residual.device
    ).contiguous(memory_format=torch.channels_last)
    spread[places] = residual
    return spread


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)
