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

# The last alpha of a zero terminal SNR schedule, instead of 0: sigma stays finite (4518.76), as in A1111.
_LAST_ALPHA = 4.8973451890853435e-08


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

    def every(self, stride: int) -> ModelSigmas:
        """Every `stride`-th level, counted so that the largest is among them; timesteps are renumbered."""
        return ModelSigmas(self.table[::-1][::stride][::-1])

    def downcast(self) -> ModelSigmas:
        """The levels with alpha rounded to half precision, as models were run that were halved as a whole."""
        alphas = (1.0 / (1.0 + self.table**2)).astype(np.float16).astype(np.float64)
        return ModelSigmas(np.sqrt((1.0 - alphas) / alphas))

    def zero_terminal_snr(self) -> ModelSigmas:
        """The levels shifted and scaled in sqrt(alpha) so that the last has (nearly) no signal (Lin et al.
        2023, algorithm 1). The first stays what it was.
        """
        roots = (1.0 + self.table**2) ** -0.5
        roots = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
        alphas = np.append(roots[:-1] ** 2, _LAST_ALPHA)
        return ModelSigmas(np.sqrt((1.0 - alphas) / alphas))


def model_sigmas(scheduler_config: Mapping[str, Any]) -> ModelSigmas:
    """The levels that a diffusers `scheduler_config.json` describes (its beta_* fields; Ho et al. 2020).

    sigma = sqrt((1 - a) / a) with a the running product of 1 - beta; `rescale_betas_zero_snr` as in
    `ModelSigmas.zero_terminal_snr`. Raises `CheckpointError` for a beta schedule that we do not know.
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
    alphas = np.cumprod(1.0 - betas)
    sigmas = ModelSigmas(np.sqrt((1.0 - alphas) / alphas))
    return sigmas.zero_terminal_snr() if scheduler_config.get("rescale_betas_zero_snr") else sigmas
