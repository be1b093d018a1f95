"""The networks that a prompt asks for, in a checkpoint: LoRAs and their kin, and hypernetworks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import torch

from easel_worker.diffusion.embeddings import StoredEmbedding
from easel_worker.diffusion.hypernetwork import Hypernetwork, hooks_for, read_hypernetwork
from easel_worker.diffusion.lora.adapters import Adapters, Hook
from easel_worker.diffusion.lora.file import (
    LoraFile,
    NetworkError,
    Remembered,
    read_lora,
    stamp_of,
)
from easel_worker.diffusion.lora.keys import shorten
from easel_worker.diffusion.lora.merging import OverflowedError, Share, merge
from easel_worker.diffusion.lora.targets import Target, Targets
from easel_worker.diffusion.prompts.networks import LORA

if TYPE_CHECKING:
    from easel_worker.diffusion.checkpoint import Checkpoint

C = TypeVar("C")

REMEMBERED_BYTES = 512 * 1024**2
"""Content of files that is kept in memory; a LoRA has 10 to 900 MB."""

_FAMILIES = {768: "SD 1.x", 1024: "SD 2.x", 2048: "SDXL", 1280: "SDXL's refiner"}
"""By how many features the attention to the text takes."""


@dataclass(frozen=True)
class NetworkUse:
    """One network that a picture's prompt asks for, and how strongly.

    kind: "lora" or "hypernet". name: as the prompt has it. te, unet, dyn: see `NetworkTag`; a hypernetwork
    has `unet` alone. sha256: what the infotext tells of it, maybe still being computed; None: nothing.
    """

    kind: str
    name: str
    path: Path
    te: float = 1.0
    unet: float = 1.0
    dyn: int | None = None
    sha256: Future[str] | None = field(default=None, compare=False)

    @property
    def acts(self) -> bool:
        """Whether it changes anything at all."""
        return bool(self.unet or (self.te and self.kind == LORA))


@dataclass(frozen=True)
class Attached:
    """What acts on a checkpoint now.

    text_key: names what has changed its text encoders; for `TextModel`. used: the networks that act, or
    would if their multipliers were not 0. problems: what is otherwise than asked, a sentence each.
    embeddings: the textual inversions in their files, for `TextModel` too.
    """

    text_key: Hashable
    used: tuple[NetworkUse, ...]
    problems: tuple[str, ...] = ()
    embeddings: tuple[StoredEmbedding, ...] = ()


NOTHING = Attached((), ())


class ExtraNetworks:
    """Attaches networks to checkpoints. Lives on the torch thread.

    What was made for the last set of networks stays with its checkpoint, off, until another set is asked for
    or `forget` is called: the same set again costs no computing.
    """

    def __init__(
        self,
        *,
        allow_pickle: bool = False,
        remembered_bytes: int = REMEMBERED_BYTES,
        make_room: Callable[[int], None] = lambda nbytes: None,
    ) -> None:
        """make_room: called before weights are made, with the bytes that they will take on the device."""
        self._allow_pickle = allow_pickle
        self.make_room = make_room
        self._loras: Remembered[LoraFile] = Remembered(remembered_bytes)
        self._hypernetworks: Remembered[Hypernetwork] = Remembered(remembered_bytes)
        self._known: WeakSet[Adapters] = WeakSet()

    def attach(
        self,
        checkpoint: Checkpoint,
        uses: Sequence[NetworkUse],
        *,
        strict: bool = True,
        secondary: bool = False,
    ) -> Attached:
        """Let exactly these networks act on the checkpoint, until `detach`.

        Args:
            strict: A network that cannot be used is an error; otherwise it is left out, and said.
            secondary: It is a refiner: what does not fit it is meant for the other checkpoint, and left out.

        Raises:
            NetworkError: a file is broken, of an unknown kind, or made for another family of models; or the
                multipliers are too large.
        """
        adapters = checkpoint.adapters
        self._known.add(adapters)
        if not uses:
            adapters.take_off()
            return NOTHING
        device = next(checkpoint.unet.parameters()).device
        key = (tuple((use, _read(use, stamp_of)) for use in uses), strict, secondary, device)
        if adapters.key != key:
            adapters.drop()
            # A task runs in inference mode, and tensors born in it could never be moved outside of it.
            with torch.inference_mode(mode=False), torch.no_grad():
                made = _Making(self, checkpoint, strict=strict, secondary=secondary)
                for use in uses:
                    made.add(use)
                made.keep_as(key)
        adapters.put_on()
        told: Attached = adapters.told
        return told

    def detach(self) -> None:
        """Every checkpoint is itself again. Costs microseconds, and never fails."""
        for adapters in self._known:
            adapters.take_off()

    def forget(self) -> None:
        """The same, and free the memory of the weights that were made, and of the files."""
        for adapters in self._known:
            adapters.drop()
        self._loras.clear()
        self._hypernetworks.clear()

    def lora(self, path: Path) -> LoraFile:
        """A file's content, read when need be."""
        found = self._loras.get(path)
        if found is not None:
            return found
        stamp = stamp_of(path)
        return self._loras.put(path, stamp, read_lora(path, allow_pickle=self._allow_pickle))

    def hypernetwork(self, path: Path) -> Hypernetwork:
        """The same of a hypernetwork."""
        found = self._hypernetworks.get(path)
        if found is not None:
            return found
        stamp = stamp_of(path)
        read = read_hypernetwork(path, allow_pickle=self._allow_pickle)
        return self._hypernetworks.put(path, stamp, read)


class _Making:
    """One set of networks on its way into one checkpoint."""

    def __init__(
        self, networks: ExtraNetworks, checkpoint: Checkpoint, *, strict: bool, secondary: bool
    ) -> None:
        self._networks = networks
        self._checkpoint = checkpoint
        self._strict = strict and not secondary
        self._shares: dict[Target, list[Share]] = {}
        self._hooks: list[Hook] = []
        self._used: list[NetworkUse] = []
        self._problems: list[str] = []
        self._text: list[tuple[Any, ...]] = []
        self._embeddings: dict[str, StoredEmbedding] = {}

    def add(self, use: NetworkUse) -> None:
        try:
            if use.kind == LORA:
                self._add_lora(use)
            else:
                self._add_hypernetwork(use)
        except NetworkError as error:
            if self._strict:
                raise
            self._problems.append(f"{error}; it was left out")
            return
        self._used.append(use)

    def keep_as(self, key: Hashable) -> None:
        # At most: a file that changes a weight may leave the bias beside it.
        parameters = [one for target in self._shares for one in target.module._parameters.values()]
        self._networks.make_room(sum(one.nbytes for one in parameters if one is not None))
        try:
            replacements = merge((target.module, shares) for target, shares in self._shares.items())
        except OverflowedError:
            names = ", ".join(f"{use.name[:60]} ({use.unet:g})" for use in self._used)
            raise NetworkError(
                f"prompt: with these networks the weights overflow: {names}; use smaller multipliers"
            ) from None
        told = Attached(
            tuple(self._text), tuple(self._used), tuple(self._problems), tuple(self._embeddings.values())
        )
        self._checkpoint.adapters.keep(key, told, replacements, self._hooks)

    def _add_lora(self, use: NetworkUse) -> None:
        file = _read(use, self._networks.lora)
        adapters = self._checkpoint.adapters
        if adapters.targets is None:
            adapters.targets = Targets(self._checkpoint)
        targets: Targets = adapters.targets
        fitting = []
        strangers: list[str] = []
        misshapen: list[str] = []
        for name, change in file.modules.items():
            target = targets.find(name)
            if target is None:
                strangers.append(name)
            elif not change.fits(target.module):
                misshapen.append(name)
            else:
                fitting.append((target, change))
        if misshapen or len(strangers) > len(fitting):
            raise NetworkError(self._misfit(use, file, misshapen or strangers))
        if use.dyn is not None and not any(_cuts(change.weight) for change in file.modules.values()):
            raise NetworkError(
                f"prompt: lora {use.name[:100]!r}: dyn cuts the rank of LoRA and GLoRA, this file is"
                f" {', '.join(sorted(file.kinds))}; leave dyn out"
            )
        if strangers or file.unknown:
            lost = [*strangers, *file.unknown]
            self._problems.append(
                f"prompt: lora {use.name[:100]!r}: {len(lost)} of its weights are for nothing in"
                f" {self._checkpoint.name}: {shorten(lost)}"
            )
        self._bring(use, file.embeddings)
        for target, change in fitting:
            multiplier = use.unet if target.side == "unet" else use.te
            if multiplier:
                self._shares.setdefault(target, []).append(Share(change, multiplier, use.dyn))
        if use.te and any(target.side == "text" for target, _ in fitting):
            self._text.append((use.path, stamp_of(use.path), use.te, use.dyn))

    def _bring(self, use: NetworkUse, embeddings: Sequence[StoredEmbedding]) -> None:
        for one in embeddings:
            if self._embeddings.setdefault(one.name, one) is not one:
                self._problems.append(
                    f"prompt: lora {use.name[:100]!r}: its embedding {one.name[:100]!r} was left out, because"
                    " one before it has another of that name"
                )

    def _misfit(self, use: NetworkUse, file: LoraFile, names: Sequence[str]) -> str:
        wanted = int(self._checkpoint.unet.config.cross_attention_dim)
        said = f"prompt: lora {use.name[:100]!r} does not fit {self._checkpoint.name}"
        if file.width is not None and file.width != wanted:
            return f"{said}: it was made for {_family(file.width)}, the checkpoint is {_family(wanted)}"
        return f"{said}, which is {_family(wanted)}; it has other modules: {shorten(names)}"

    def _add_hypernetwork(self, use: NetworkUse) -> None:
        network = _read(use, self._networks.hypernetwork)
        made = hooks_for(self._checkpoint.unet, network, use.unet)
        if not made:
            widths = ", ".join(str(width) for width in sorted(network.layers))
            raise NetworkError(
                f"prompt: hypernet {use.name[:100]!r} does not fit {self._checkpoint.name}: it is for widths"
                f" {widths}, and no attention of this checkpoint has one of them"
            )
        if use.unet:
            self._hooks += made


def _read(use: NetworkUse, read: Callable[[Path], C]) -> C:
    """What `read` finds of a file; what is wrong with it is told of the tag that names it."""
    try:
        return read(use.path)
    except NetworkError as error:
        raise NetworkError(f"prompt: {use.kind} {use.name[:100]!r}: {error}") from error


def _cuts(weight: Any) -> bool:
    return weight is not None and (
        weight.cuts or bool(getattr(getattr(weight, "inner", None), "cuts", False))
    )


def _family(width: int) -> str:
    named = f" ({_FAMILIES[width]})" if width in _FAMILIES else ""
    return f"a model whose UNet attends to {width} features{named}"
