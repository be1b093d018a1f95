"""Sampler and scheduler names as clients write them, and what they mean.

Names, aliases and the rule "a trailing scheduler name belongs to the scheduler" are the interface of A1111's
API. Ours differs on purpose: any letter case and alias counts, and an unknown name is refused instead of
being replaced silently.
"""

from __future__ import annotations

from dataclasses import dataclass

from easel_contract.errors import ContractError

DEFAULT_SAMPLER = "Euler"


@dataclass(frozen=True)
class Sampler:
    """A sampler that can be asked for. `scheduler` is what "Automatic" means for it."""

    name: str
    aliases: tuple[str, ...]
    scheduler: str = "uniform"
    own_steps: bool = False
    """True if it makes its own timesteps and ignores the scheduler (DDIM, UniPC)."""

    @property
    def options(self) -> dict[str, str]:
        """What ``GET /sdapi/v1/samplers`` tells about it; every value is a string."""
        return {} if self.scheduler == "uniform" else {"scheduler": self.scheduler}


@dataclass(frozen=True)
class Scheduler:
    """A noise schedule that can be asked for."""

    name: str
    label: str
    aliases: tuple[str, ...] = ()
    default_rho: float = -1
    """The exponent where a request sets none; -1: it has none."""
    need_inner_model: bool = False
    """It is defined on the model's own timesteps rather than between two sigmas."""


SAMPLERS: tuple[Sampler, ...] = (
    Sampler("DPM++ 2M", ("k_dpmpp_2m",), "karras"),
    Sampler("Euler a", ("k_euler_a", "k_euler_ancestral")),
    Sampler("Euler", ("k_euler",)),
    Sampler("LMS", ("k_lms",)),
    Sampler("Heun", ("k_heun",)),
    Sampler("DDIM", ("ddim",), own_steps=True),
    Sampler("UniPC", ("unipc",), own_steps=True),
)

SCHEDULERS: tuple[Scheduler, ...] = (
    Scheduler("automatic", "Automatic"),
    Scheduler("uniform", "Uniform", need_inner_model=True),
    Scheduler("karras", "Karras", default_rho=7.0),
    Scheduler("exponential", "Exponential"),
    Scheduler("polyexponential", "Polyexponential"),
    Scheduler("sgm_uniform", "SGM Uniform", ("SGMUniform",)),
    Scheduler("kl_optimal", "KL Optimal"),
    Scheduler("align_your_steps", "Align Your Steps"),
    Scheduler("simple", "Simple"),
    Scheduler("normal", "Normal"),
    Scheduler("ddim", "DDIM"),
    Scheduler("beta", "Beta"),
)

_SAMPLERS = {name.casefold(): item for item in SAMPLERS for name in (item.name, *item.aliases)}
_SCHEDULERS = {
    name.casefold(): item for item in SCHEDULERS for name in (item.name, item.label, *item.aliases)
}


@dataclass(frozen=True)
class SamplerChoice:
    """What a request runs: `sampler` by its display name, `scheduler` by its short name (never automatic)."""

    sampler: str
    scheduler: str

    @property
    def label(self) -> str:
        """The scheduler as infotext writes it, for example ``Karras``."""
        return _SCHEDULERS[self.scheduler].label


def resolve(name: str | None, scheduler: str | None = None) -> SamplerChoice:
    """What sampler and schedule a request means.

    Args:
        name: Name or alias, any letter case, possibly with a scheduler behind it ("DPM++ 2M Karras").
        scheduler: Name, label or alias; wins over the suffix unless it says automatic. Empty is automatic.

    Raises:
        ContractError: 400 for an unknown sampler or scheduler, listing the known ones.
    """
    asked = _SCHEDULERS.get((scheduler or "automatic").strip().casefold())
    if asked is None:
        known = ", ".join(item.label for item in SCHEDULERS)
        raise ContractError(
            f"Scheduler not found: {scheduler!r}; known are {known}",
            field="scheduler",
            status=400,
            kind="not_found",
        )
    text = (name or DEFAULT_SAMPLER).strip()
    sampler = _SAMPLERS.get(text.casefold())
    suffix: Scheduler | None = None
    if sampler is None:
        sampler, suffix = _split(text)
    chosen = asked if asked.name != "automatic" else suffix
    if chosen is None or chosen.name == "automatic" or sampler.own_steps:
        return SamplerChoice(sampler.name, sampler.scheduler)
    return SamplerChoice(sampler.name, chosen.name)


def _split(text: str) -> tuple[Sampler, Scheduler]:
    # The longest scheduler name that ends the text, so that "Euler SGM Uniform" is not "Euler SGM" + Uniform.
    folded = text.casefold()
    for ending in sorted(_SCHEDULERS, key=len, reverse=True):
        if folded.endswith(" " + ending):
            sampler = _SAMPLERS.get(folded[: -len(ending) - 1].rstrip())
            if sampler is not None:
                return sampler, _SCHEDULERS[ending]
    known = ", ".join(item.name for item in SAMPLERS)
    raise ContractError(
        f"Sampler not found: {text!r}; known are {known}", field="sampler_name", status=400, kind="not_found"
    )
