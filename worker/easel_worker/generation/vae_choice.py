"""Which VAE each checkpoint of a job draws with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from easel_contract.checkpoints import ModelFile
from easel_contract.errors import ContractError
from easel_contract.options import RenderOptions
from easel_contract.vae_files import AUTOMATIC, NONE, VaeFile, VaeFolder

FIELD = "sd_vae"


class VaeChooser:
    """Resolves `sd_vae`. Any thread may ask."""

    def __init__(self, models: Path, *, allow_pickle: bool) -> None:
        self._folder = VaeFolder(models)
        self._allow_pickle = allow_pickle

    def choose(
        self, models: Iterable[ModelFile], asked: str, options: RenderOptions
    ) -> Mapping[ModelFile, VaeFile]:
        """The VAE of each checkpoint that draws with another than its own.

        asked: "Automatic" takes the one that lies beside a checkpoint, "None" never one, anything else is a
        name. A named one gives way to one that lies beside a checkpoint where the option
        `sd_vae_overrides_per_model_preferences` is off.

        Raises:
            ContractError: 422, there is no VAE of that name, or it is a pickle and those are not allowed.
        """
        word = asked.strip().casefold()
        if word == NONE.casefold():
            return {}
        named = None if word in ("", AUTOMATIC.casefold()) else self._folder.resolve(asked, field=FIELD)
        chosen = {}
        for model in models:
            beside = self._folder.beside(model)
            prefers_named = named is not None and options.sd_vae_overrides_per_model_preferences
            vae = named if prefers_named else beside or named
            if vae is not None:
                self._check(vae)
                chosen[model] = vae
        return chosen

    def _check(self, vae: VaeFile) -> None:
        if vae.is_pickle and not self._allow_pickle:
            raise ContractError(
                f"{vae.name} is a pickle: set EASEL_ALLOW_PICKLE=true to load it (with torch's restricted"
                f" reader), convert it to .safetensors, or use {NONE!r}",
                field=FIELD,
            )
