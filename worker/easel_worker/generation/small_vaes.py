"""TAESD in a VAE's place, where a job's options ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.errors import CheckpointError, JobError
from easel_worker.diffusion.latents import LATENT_MODES
from easel_worker.diffusion.taesd import TaesdFiles
from easel_worker.generation.job import Job

FULL = "Full"
"""The checkpoint's VAE; the other method is TAESD."""


def uses_taesd(job: Job) -> bool:
    """Whether TAESD does anything for a job."""
    return (job.options.sd_vae_encode_method, job.options.sd_vae_decode_method) != (FULL, FULL)


def with_taesd(checkpoint: Checkpoint, job: Job, files: TaesdFiles) -> Checkpoint:
    """The checkpoint with TAESD as its encoder, its decoder or both. All else is shared with it.

    Raises:
        JobError: a file is missing or broken, or there is none for such latents; names the option.
    """
    option = "sd_vae_encode_method"
    try:
        if job.options.sd_vae_encode_method != FULL:
            checkpoint = replace(checkpoint, encoder=files.encoder(checkpoint))
        option = "sd_vae_decode_method"
        if job.options.sd_vae_decode_method != FULL:
            checkpoint = replace(checkpoint, decoder=files.decoder(checkpoint))
    except CheckpointError as error:
        raise JobError(f"{option}: {error}; or leave it at {FULL!r}") from error
    return checkpoint


def small_vae_facts(job: Job) -> Mapping[str, object]:
    """What infotexts tell of it, in A1111's names: of the encoder where a picture was encoded."""
    facts: dict[str, object] = {}
    encode, decode = job.options.sd_vae_encode_method, job.options.sd_vae_decode_method
    encoded = job.source is not None or job.firstpass is not None
    encoded = encoded or (job.hires is not None and job.hires.upscaler not in LATENT_MODES)
    if encoded and encode != FULL:
        facts["VAE Encoder"] = encode
    if decode != FULL:
        facts["VAE Decoder"] = decode
    return facts
