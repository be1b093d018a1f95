"""What infotexts tell of a job beyond the fields that every picture has.

What only img2img has is told by `img2img.img2img_facts`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from easel_contract.options import RenderOptions
from easel_worker.diffusion.samplers.registry import find_sampler
from easel_worker.generation.hires import hires_facts
from easel_worker.generation.job import Job, Picture
from easel_worker.generation.sampling import sampler_options
from easel_worker.generation.small_vaes import small_vae_facts

SAMPLING = (
    ("Sigma churn", "s_churn"),
    ("Sigma tmin", "s_tmin"),
    ("Sigma tmax", "s_tmax"),
    ("Sigma noise", "s_noise"),
    ("NGMS", "s_min_uncond"),
    ("NGMS all steps", "s_min_uncond_all"),
    ("Skip Early CFG", "skip_early_cond"),
    ("UniPC variant", "uni_pc_variant"),
    ("UniPC skip type", "uni_pc_skip_type"),
    ("UniPC order", "uni_pc_order"),
    ("UniPC lower order final", "uni_pc_lower_order_final"),
    ("Schedule min sigma", "sigma_min"),
    ("Schedule max sigma", "sigma_max"),
    ("Schedule rho", "rho"),
    ("Beta schedule alpha", "beta_dist_alpha"),
    ("Beta schedule beta", "beta_dist_beta"),
    ("Old Karras sigmas", "use_old_karras_scheduler_sigmas"),
    ("SGM noise multiplier", "sgm_noise_multiplier"),
    ("Discard penultimate sigma", "always_discard_next_to_last_sigma"),
    ("Noise Schedule", "sd_noise_schedule"),
    ("Pad conds", "pad_cond_uncond"),
    ("Pad conds v0", "pad_cond_uncond_v0"),
    ("Comma backtrack", "comma_padding_backtrack"),
    ("Old prompt editing timelines", "use_old_scheduling"),
)
"""Key of the infotext: option that it tells."""


_DEFAULT = RenderOptions()
_DEFAULT_SAMPLING = sampler_options(_DEFAULT)


def facts_of(job: Job, picture: Picture) -> Mapping[str, object]:
    """A1111's extra generation parameters, in its order; what does not apply is None."""
    facts: dict[str, object] = {}
    if job.hires is not None:
        facts |= hires_facts(job, job.hires, picture)
    spec = find_sampler(job.steps.choice.sampler)
    eta = spec.eta(sampler_options(job.options))
    if eta != spec.eta(_DEFAULT_SAMPLING):
        facts["Eta"] = eta
    facts |= _changed(job, SAMPLING)
    if job.source is not None and job.source.noise_multiplier != 1.0:
        facts["Noise multiplier"] = job.source.noise_multiplier
    facts |= _changed(job, [("Extra noise", "img2img_extra_noise")])
    if job.source is not None:
        facts |= _changed(job, [("All steps", "img2img_fix_steps")])
        if job.options.save_init_img:
            # Of several A1111 tells the last one's: MD5 of its pixels, as the name that it is found by.
            facts["Init image hash"] = hashlib.md5(
                job.source.images[-1].tobytes(), usedforsecurity=False
            ).hexdigest()
    if job.refiner is not None:
        facts |= {"Refiner": job.refiner.model.name, "Refiner switch at": job.refiner.switch_at}
        if job.hires is not None:
            facts |= _changed(job, [("Hires refiner", "hires_fix_refiner_pass")])
        facts |= _changed(job, [("Refiner switch by sampling steps", "refiner_switch_by_sample_steps")])
    facts |= _changed(job, [("Emphasis", "emphasis")])
    facts |= small_vae_facts(job)
    return facts


def _changed(job: Job, keys: Iterable[tuple[str, str]]) -> dict[str, object]:
    """The options that differ from their defaults."""
    return {
        key: getattr(job.options, option)
        for key, option in keys
        if getattr(job.options, option) != getattr(_DEFAULT, option)
    }
