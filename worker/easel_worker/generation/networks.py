"""Extra networks from a prompt to a checkpoint: resolved beside the torch thread, attached in it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from easel_contract.errors import ContractError
from easel_contract.needs import OPTION_NETWORKS
from easel_contract.network_files import HASH_DIGITS, NetworkFiles
from easel_contract.options import RenderOptions
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.extra_networks import NOTHING, Attached, NetworkUse
from easel_worker.diffusion.prompts.networks import LORA, NetworkTag, cut_networks
from easel_worker.generation.job import Job, Picture
from easel_worker.generation.studio import Studio

MAX_NETWORKS = 64
"""Tags of one prompt. Each costs a sum over all weights that it changes."""

LORA_HASHES = "Lora hashes"


@dataclass(frozen=True)
class LoraHashes:
    """What infotexts tell of the LoRAs that were attached: names and hashes, which may still be computed."""

    named: tuple[tuple[str, Future[str]], ...]

    def text(self) -> str | None:
        """Each name once, with its hash; waits for the hashes. None where no file is there any more."""
        told = [
            f"{name}: {sha256[:HASH_DIGITS]}" for name, future in self.named if (sha256 := future.result())
        ]
        return ", ".join(dict.fromkeys(told)) or None


def with_chosen_networks(prompt: str, options: RenderOptions) -> str:
    """A prompt with the tags of the networks that options name for all prompts (`sd_lora`,
    `sd_hypernetwork`), behind it, where it does not have them itself: so that its picture tells."""
    own = {(tag.kind, tag.name) for tag in cut_networks(prompt).networks}
    default = options.extra_networks_default_multiplier
    for option, kind in OPTION_NETWORKS.items():
        name = getattr(options, option)
        if name not in ("", "None") and (kind, name) not in own:
            prompt += f"<{kind}:{name}:{default:g}>"
    return prompt


def networks_of(
    prompt: str, default_multiplier: float, files: NetworkFiles, *, field: str
) -> tuple[tuple[NetworkUse, ...], list[str]]:
    """The networks that a prompt names, in its order; and a sentence for each tag that names none.

    Raises:
        ContractError: more than `MAX_NETWORKS` tags.
    """
    cut = cut_networks(prompt, default_multiplier)
    if len(cut.networks) > MAX_NETWORKS:
        raise ContractError(
            f"{len(cut.networks)} networks in one prompt; at most {MAX_NETWORKS}",
            field=field,
            kind="too_large",
        )
    found: list[NetworkUse] = []
    problems = list(cut.problems)
    for tag in cut.networks:
        try:
            found.append(_use(tag, files, field))
        except ContractError as error:
            problems.append(error.message)
    return tuple(found), problems


def _use(tag: NetworkTag, files: NetworkFiles, field: str) -> NetworkUse:
    file = files.find(tag.kind, tag.name, field=field)
    sha256 = files.hash_soon(file) if tag.kind == LORA else None
    return NetworkUse(tag.kind, tag.name, file.path, tag.te, tag.unet, tag.dyn, sha256)


def attach_networks(
    job: Job, batch: Sequence[Picture], checkpoint: Checkpoint, studio: Studio, *, refiner: bool = False
) -> Attached:
    """Let the networks of a batch act on a checkpoint until the batch ends, and tell of them. All pictures of
    a batch have the same.

    Raises:
        NetworkError: a network does not fit, and the request is strict.
    """
    if studio.networks is None:
        return NOTHING
    attached = studio.networks.attach(
        checkpoint, batch[0].networks, strict=job.strict_networks, secondary=refiner
    )
    studio.problems.extend(attached.problems)
    if job.options.lora_add_hashes_to_infotext and not refiner:
        named = tuple((_plain(use.name), use.sha256) for use in attached.used if use.sha256 is not None)
        before = studio.told.get(LORA_HASHES)
        if isinstance(before, LoraHashes):
            named = (*before.named, *named)
        if named:
            studio.told[LORA_HASHES] = LoraHashes(named)
    return attached


def _plain(name: str) -> str:
    """A name without what separates it from others."""
    return name.replace(":", "").replace(",", "")
