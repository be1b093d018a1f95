"""What a txt2img request asks for, with every name resolved and every default filled in."""

from __future__ import annotations

from dataclasses import dataclass

from easel_contract.checkpoints import Library, ModelFile
from easel_contract.errors import ContractError
from easel_contract.requests import Txt2ImgRequest
from easel_contract.samplers import SamplerChoice
from easel_contract.savedir import SaveDir, resolve_save_dir
from easel_worker.models import starter
from easel_worker.seeds import resolve_seeds
from easel_worker.settings import WorkerSettings

RNGS = {"gpu": "NV", "nv": "NV", "cpu": "CPU"}
"""Option `randn_source`. "GPU" is CUDA's generator, which NV computes anywhere: one seed, one picture."""


@dataclass(frozen=True)
class Plan:
    """One task, ready for the torch thread. `seeds` has one entry per picture, n_iter x batch_size."""

    request: Txt2ImgRequest
    model: ModelFile
    model_hash: str
    choice: SamplerChoice
    seeds: tuple[int, ...]
    save_dir: SaveDir | None
    rng: str

    @property
    def batches(self) -> list[tuple[int, ...]]:
        """Seeds of each forward pass."""
        size = self.request.batch_size
        return [self.seeds[start : start + size] for start in range(0, len(self.seeds), size)]


def make_plan(request: Txt2ImgRequest, library: Library, settings: WorkerSettings) -> Plan:
    """Resolve names against this worker's models and mounts.

    Raises:
        ContractError: an unknown checkpoint or sampler, a directory outside the storage.
    """
    model = library.resolve(request.checkpoint or default_name(library, settings.default_checkpoint))
    save_dir = request.options.save_dir
    return Plan(
        request=request,
        model=model,
        model_hash=library.short_hash(model),
        choice=request.choice,
        seeds=resolve_seeds(request.seed, request.images),
        save_dir=None if save_dir is None else resolve_save_dir(save_dir, settings.mount_paths),
        rng=_rng(request.override_settings.get("randn_source", "NV")),
    )


def default_name(library: Library, setting: str, *, fresh: bool = True) -> str:
    """The checkpoint of requests that name none: the operator's choice, else the first by name.

    The starter model comes last: it stands in only until somebody brings a real one. `fresh` as in
    `Library.names`.

    Raises:
        ContractError: the model directory is empty.
    """
    if setting:
        return setting
    names = library.names(fresh=fresh)
    if not names:
        raise ContractError("no checkpoint in models/Stable-diffusion", field="sd_model_checkpoint")
    return min(names, key=lambda name: (name == starter.NAME, name))


def _rng(value: object) -> str:
    rng = RNGS.get(str(value).strip().casefold())
    if rng is None:
        raise ContractError("use GPU, NV or CPU", field="override_settings.randn_source")
    return rng
