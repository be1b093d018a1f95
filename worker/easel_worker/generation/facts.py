"""What infotexts tell of a job beyond the fields that every picture has.

What only img2img has is told by `img2img.img2img_facts`.
"""

from __future__ import annotations

from collections.abc import Mapping

from easel_worker.generation.hires import hires_facts
from easel_worker.generation.job import Job, Picture


def facts_of(job: Job, picture: Picture) -> Mapping[str, object]:
    """A1111's extra generation parameters, in its order; what does not apply is None."""
    facts: dict[str, object] = {}
    options, default = job.options, type(job.options)()
    if job.hires is not None:
        facts |= hires_facts(job, job.hires, picture)
    for key, option in (
        ("Sigma churn", "s_churn"),
        ("Sigma tmin", "s_tmin"),
        ("Sigma tmax", "s_tmax"),
        ("Sigma noise", "s_noise"),
        ("NGMS", "s_min_uncond"),
        ("Schedule min sigma", "sigma_min"),
        ("Schedule max sigma", "sigma_max"),
        ("Schedule rho", "rho"),
        ("Beta schedule alpha", "beta_dist_alpha"),
        ("Beta schedule beta", "beta_dist_beta"),
        ("Discard penultimate sigma", "always_discard_next_to_last_sigma"),
        ("Pad conds", "pad_cond_uncond"),
        ("Extra noise", "img2img_extra_noise"),
        ("Emphasis", "emphasis"),
    ):
        value = getattr(options, option)
        if value != getattr(default, option):
            facts[key] = value
    if job.refiner is not None:
        facts |= {"Refiner": job.refiner.model.name, "Refiner switch at": job.refiner.switch_at}
    return facts
