"""Sampler and scheduler names as clients write them, and what they mean.

Names, aliases and the rule "a trailing scheduler name belongs to the scheduler" are the interface of A1111's
API. Ours differs on purpose: any letter case and alias counts, and an unknown name is refused, or replaced
with a warning where the operator prefers that, never silently.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from easel_contract.errors import ContractError

DEFAULT_SAMPLER = "Euler"
FALLBACK_SAMPLER = "DPM++ 2M"
"""What a lenient server runs for a name that it does not know, as A1111 does."""

AUTOMATIC = "automatic"


@dataclass(frozen=True)
class Sampler:
    """A sampler that can be asked for."""

    name: str
    aliases: tuple[str, ...]
    scheduler: str = "uniform"
    """What "Automatic" means for it."""
    own_steps: bool = False
    """It makes its own timesteps and ignores the scheduler (DDIM and its relatives)."""
    second_order: bool = False
    """Two model calls per step; prompt editing counts them both."""
    brownian_noise: bool = False
    """Its noise is a Brownian path over sigma, so the picture changes little with the number of steps."""
    discard_next_to_last_sigma: bool = False
    """One more level is scheduled, and the last but one left out."""
    uses_ensd: bool = False
    """Infotext names the eta noise seed delta for it."""
    solver_type: str | None = None

    @property
    def options(self) -> dict[str, str]:
        """What ``GET /sdapi/v1/samplers`` tells about it; every value is a string."""
        found = {} if self.scheduler == "uniform" else {"scheduler": self.scheduler}
        flags = ("second_order", "brownian_noise", "discard_next_to_last_sigma", "uses_ensd")
        found |= {flag: "True" for flag in flags if getattr(self, flag)}
        return found | ({"solver_type": self.solver_type} if self.solver_type else {})


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
    Sampler("DPM++ SDE", ("k_dpmpp_sde",), "karras", second_order=True, brownian_noise=True),
    Sampler("DPM++ 2M SDE", ("k_dpmpp_2m_sde",), "exponential", brownian_noise=True),
    Sampler(
        "DPM++ 2M SDE Heun", ("k_dpmpp_2m_sde_heun",), "exponential", brownian_noise=True, solver_type="heun"
    ),
    Sampler("DPM++ 2S a", ("k_dpmpp_2s_a",), "karras", second_order=True, uses_ensd=True),
    Sampler(
        "DPM++ 3M SDE",
        ("k_dpmpp_3m_sde",),
        "exponential",
        brownian_noise=True,
        discard_next_to_last_sigma=True,
    ),
    Sampler("Euler a", ("k_euler_a", "k_euler_ancestral"), uses_ensd=True),
    Sampler("Euler", ("k_euler",)),
    Sampler("LMS", ("k_lms",)),
    Sampler("Heun", ("k_heun",), second_order=True),
    Sampler("DPM2", ("k_dpm_2",), "karras", second_order=True, discard_next_to_last_sigma=True),
    Sampler(
        "DPM2 a",
        ("k_dpm_2_a",),
        "karras",
        second_order=True,
        discard_next_to_last_sigma=True,
        uses_ensd=True,
    ),
    Sampler("DPM fast", ("k_dpm_fast",), uses_ensd=True),
    Sampler("DPM adaptive", ("k_dpm_ad",), uses_ensd=True),
    Sampler("Restart", ("restart",), "karras", second_order=True),
    Sampler("DDIM", ("ddim",), own_steps=True),
    Sampler("DDIM CFG++", ("ddim_cfgpp",), own_steps=True),
    Sampler("PLMS", ("plms",), own_steps=True),
    Sampler("UniPC", ("unipc",), own_steps=True),
    Sampler("LCM", ("k_lcm",)),
)

SCHEDULERS: tuple[Scheduler, ...] = (
    Scheduler(AUTOMATIC, "Automatic"),
    Scheduler("uniform", "Uniform", need_inner_model=True),
    Scheduler("karras", "Karras", default_rho=7.0),
    Scheduler("exponential", "Exponential"),
    Scheduler("polyexponential", "Polyexponential", default_rho=1.0),
    Scheduler("sgm_uniform", "SGM Uniform", ("SGMUniform",), need_inner_model=True),
    Scheduler("kl_optimal", "KL Optimal"),
    Scheduler("align_your_steps", "Align Your Steps"),
    Scheduler("simple", "Simple", need_inner_model=True),
    Scheduler("normal", "Normal", need_inner_model=True),
    Scheduler("ddim", "DDIM", need_inner_model=True),
    Scheduler("beta", "Beta", need_inner_model=True),
)

_SAMPLERS = {name.casefold(): item for item in SAMPLERS for name in (item.name, *item.aliases)}
_SCHEDULERS = {
    name.casefold(): item for item in SCHEDULERS for name in (item.name, item.label, *item.aliases)
}
_LONGEST_SHOWN = 60  # characters of an unknown name that an error repeats
# Longest first, so that "Euler SGM Uniform" is not "Euler SGM" + Uniform.
_ENDINGS = sorted(_SCHEDULERS, key=len, reverse=True)


@dataclass(frozen=True)
class SamplerChoice:
    """What a request runs: `sampler` by its display name, `scheduler` by its short name (never automatic).

    `warnings` are sentences for the answer's ``info``: what was asked for and is not known, and what runs
    instead. Empty when everything is known.
    """

    sampler: str
    scheduler: str
    automatic: bool = field(default=False, compare=False)
    """The request left the schedule to a sampler that has none of its own."""
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def uses_ensd(self) -> bool:
        """Whether infotexts name the eta noise seed delta."""
        return _SAMPLERS[self.sampler.casefold()].uses_ensd

    @property
    def label(self) -> str:
        """The scheduler as infotext writes it: ``Karras``; ``Automatic`` where the model's own levels are
        used and nobody asked for them by name.
        """
        return _SCHEDULERS[AUTOMATIC if self.automatic else self.scheduler].label


def resolve(name: str | None, scheduler: str | None = None, *, strict: bool = True) -> SamplerChoice:
    """What sampler and schedule a request means.

    Args:
        name: Name or alias, any letter case, possibly with a scheduler behind it ("DPM++ 2M Karras"). None
            or empty is `DEFAULT_SAMPLER`.
        scheduler: Name, label or alias. When not empty it wins over the one behind the sampler's name, even
            when it says automatic: then the sampler's own schedule is meant.
        strict: Refuse unknown names. Otherwise an unknown sampler becomes `FALLBACK_SAMPLER`, an unknown
            scheduler automatic, and the choice's `warnings` say so.

    Raises:
        ContractError: 400 for an unknown sampler or scheduler, listing the known ones, when `strict`.
    """
    warnings: list[str] = []
    text = (name or "").strip() or DEFAULT_SAMPLER
    sampler, suffix = _split(text)
    if sampler is None:
        refusal = _unknown("Sampler", text, [item.name for item in SAMPLERS], "sampler_name")
        if strict:
            raise refusal
        warnings.append(f"{refusal.message}; {FALLBACK_SAMPLER} was used")
        sampler = _SAMPLERS[FALLBACK_SAMPLER.casefold()]
    asked = (scheduler or "").strip()
    chosen = _SCHEDULERS.get(asked.casefold()) if asked else suffix
    if asked and chosen is None:
        refusal = _unknown("Scheduler", asked, [item.label for item in SCHEDULERS], "scheduler")
        if strict:
            raise refusal
        warnings.append(f"{refusal.message}; Automatic was used")
    if chosen is None or chosen.name == AUTOMATIC or sampler.own_steps:
        own = sampler.scheduler == "uniform"
        return SamplerChoice(sampler.name, sampler.scheduler, automatic=own, warnings=tuple(warnings))
    return SamplerChoice(sampler.name, chosen.name, warnings=tuple(warnings))


def _split(text: str) -> tuple[Sampler | None, Scheduler | None]:
    """The sampler and the scheduler behind its name; an unknown sampler leaves the scheduler standing."""
    folded = text.casefold()
    whole = _SAMPLERS.get(folded)
    if whole is not None:
        return whole, None
    left_over: Scheduler | None = None
    for ending in _ENDINGS:
        if folded.endswith(" " + ending):
            sampler = _SAMPLERS.get(folded[: -len(ending) - 1].rstrip())
            if sampler is not None:
                return sampler, _SCHEDULERS[ending]
            left_over = left_over or _SCHEDULERS[ending]
    return None, left_over


def _unknown(kind: str, name: str, known: list[str], request_field: str) -> ContractError:
    shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…"
    return ContractError(
        f"{kind} not found: {shown!r}; known are {', '.join(known)}",
        field=request_field,
        status=400,
        kind="not_found",
    )
