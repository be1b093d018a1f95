"""Stable Diffusion on torch: checkpoints, prompt conditioning, noise, sigma schedules, samplers.

Models (UNet, VAE, CLIP text encoder) come from diffusers and transformers. Everything between them is our own
code, because the picture depends on it: what a client asks of AUTOMATIC1111's API has to give the same
picture here.

    load_checkpoint (checkpoint.py) ──> Checkpoint
    easel_worker.generation (a request's jobs, their batches and passes)
                     ├── prompts/     the language of prompts, on plain text
                     ├── text.py      text -> encoding, in chunks of 75 tokens: chunks.py, embeddings.py,
                     │                text_encoders.py, emphasis.py
                     ├── conditioning.py   a batch's prompts -> what each model call attends to
                     ├── sampling.py  from names and options to a latent: the plan, and the run
                     ├── noise.py     one random stream per image, variations, Brownian paths: streams.py
                     │                (CUDA's Philox in numpy, or torch's), brownian.py
                     ├── sigmas.py, schedules.py   the model's noise levels, and which of them to visit
                     ├── guidance.py  UNet -> denoised latent, classifier-free guidance: unet_batch.py,
                     │                guidance_hooks.py
                     ├── samplers/    one step function per sampler, one loop for all
                     └── decode.py    latent -> uint8 picture

Nothing here touches the network, the queue or a disk other than the checkpoint's folder. All of it runs on
the one thread that owns torch. This package imports nothing at import time: torch and diffusers take seconds
to load.
"""
