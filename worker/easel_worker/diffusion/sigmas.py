"""The noise levels that a model was trained on.

A latent x at noise level sigma is data + sigma * unit noise (Karras et al. 2022, "variance exploding"); a
model trained on DDPM's scaled form sees x / sqrt(1 + sigma^2). Levels are host numbers (float64), never
tensors: a sampler reads them at every step, and reading one from a GPU would stall it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easel_worker.diffusion.errors import CheckpointError

Floats = NDArray[np.float64]


class ModelSigmas:
    """A model's sigma for each training timestep, ascending, and the way between the two.

    `table[t]` is sigma at integer timestep t; between timesteps log(sigma) is linear, as in k-diffusion's
    `DiscreteSchedule`. SD 1.5: 1000 entries, 0.0291672 to 14.6146412.
    """

    def __init__(self, table: Floats) -> None:
        self.table = table
        self._log = np.log(table)
        self._timesteps = np.arange(len(table), dtype=np.float64)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def smallest(self) -> float:
        return float(self.table[0])

    @property
    def largest(self) -> float:
        return float(self.table[-1])

    def at(self, timesteps: Floats) -> Floats:
        """sigma at (fractional) timesteps; outside the table the nearest end."""
        sigmas: Floats = np.exp(np.interp(timesteps, self._timesteps, self._log))
        return sigmas

    def timestep(self, sigma: float) -> float:
        """The (fractional) timestep at which the model was trained on `sigma`; outside the table the nearest
        end.
        """
        return float(np.interp(np.log(sigma), self._log, self._timesteps))


def model_sigmas(scheduler_config: Mapping[str, Any]) -> ModelSigmas:
    """The levels that a diffusers `scheduler_config.json` describes (its beta_* fields; Ho et al. 2020).

    sigma = sqrt((1 - a) / a) with a the running product of 1 - beta. Raises `CheckpointError` for a beta
    schedule that we do not know, and for zero terminal SNR, whose last sigma is infinite.
    """
    try:
        start, end = float(scheduler_config["beta_start"]), float(scheduler_config["beta_end"])
        count = int(scheduler_config.get("num_train_timesteps", 1000))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"scheduler_config.json: beta_start and beta_end must be numbers ({error})"
        ) from error
    kind = scheduler_config.get("beta_schedule", "linear")
    if kind == "scaled_linear":  # latent diffusion's: linear in sqrt(beta)
        betas = np.linspace(start**0.5, end**0.5, count, dtype=np.float64) ** 2
    elif kind == "linear":
        betas = np.linspace(start, end, count, dtype=np.float64)
    else:
        raise CheckpointError(
            f"scheduler_config.json: beta_schedule {kind!r} is unknown: linear or scaled_linear"
        )
    if count < 2 or not 0 < start <= end < 1:
        raise CheckpointError(
            "scheduler_config.json: needs 0 < beta_start <= beta_end < 1 and two timesteps or more"
        )
    if scheduler_config.get("rescale_betas_zero_snr"):
        raise CheckpointError("scheduler_config.json: rescale_betas_zero_snr is not supported")
    alphas = np.cumprod(1.0 - betas)
    return ModelSigmas(np.sqrt((1.0 - alphas) / alphas))
