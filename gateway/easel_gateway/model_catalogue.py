"""The files of the data directory that the lists show, beside the checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from easel_contract.controlnet import ControlFiles
from easel_contract.controlnet.models import FOLDER as CONTROL_FOLDER
from easel_contract.hashes import HashBook
from easel_contract.model_files import SUFFIX, WeightsFolder
from easel_contract.network_files import NetworkFiles
from easel_contract.styles import FILE_NAME, StyleBook
from easel_contract.vae_files import VaeFolder


@dataclass(frozen=True)
class ModelCatalogue:
    """One reader for each folder, with what it has already read. Any thread may ask."""

    vaes: VaeFolder
    hypernetworks: WeightsFolder
    networks: NetworkFiles
    embeddings: WeightsFolder
    styles: StyleBook
    controls: ControlFiles


def open_catalogue(
    data_dir: Path, hashes: HashBook | None = None, *, allow_pickle: bool = False
) -> ModelCatalogue:
    """Readers for A1111's folders below `data_dir`; none of them need exist. hashes, allow_pickle: see
    `NetworkFiles`."""
    models = data_dir / "models"
    return ModelCatalogue(
        vaes=VaeFolder(models),
        hypernetworks=WeightsFolder(models / "hypernetworks", suffixes=(SUFFIX, ".pt")),
        networks=NetworkFiles(models, allow_pickle=allow_pickle, hashes=hashes),
        embeddings=WeightsFolder(data_dir / "embeddings", suffixes=(SUFFIX, ".pt", ".bin")),
        styles=StyleBook(data_dir / FILE_NAME),
        controls=ControlFiles(models / CONTROL_FOLDER),
    )
