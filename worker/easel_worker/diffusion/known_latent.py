"""What the inpainting units of ControlNet do to the sampling, beside their hint.

All of them show the network the picture with the masked pixels at -1. They differ in what may change:

- inpaint (inpaint_global_harmonious): everything. The hint alone keeps what is not masked similar, and
  colours and light may adapt to what was painted.
- inpaint_only: the masked part alone. While sampling, the latent outside of the mask is the picture's
  (`keep_known`); afterwards the picture is composited over the result, with an edge as soft as the option
  `control_net_inpaint_blur_sigma` says, since the VAE does not give back every pixel.
"""

from __future__ import annotations

import torch
from torch.nn.functional import adaptive_max_pool2d

from easel_worker.diffusion.guidance_hooks import GuidanceHooks, keep_unmasked


def keep_known(hooks: GuidanceHooks, known: torch.Tensor, mask: torch.Tensor) -> None:
    """Let a pass paint within the mask only, on top of what `hooks` do already (img2img's own mask).

    known: the picture's latent, (1 or images, 4, h, w), scaled as the sampler's. mask: (1 or images, 1, H,
    W) in pixels or of any size, above 0.5 is painted. A latent that a single painted pixel belongs to is
    painted, so that the edge between the two is outside of the mask, where the composite hides it.
    """
    painted = adaptive_max_pool2d((mask > 0.5).float(), known.shape[-2:]).to(known)
    keep, before = keep_unmasked(known, painted), hooks.blend_denoised

    def blend(latent: torch.Tensor, sigma: float) -> torch.Tensor:
        return keep(latent if before is None else before(latent, sigma), sigma)

    hooks.blend_denoised = blend
