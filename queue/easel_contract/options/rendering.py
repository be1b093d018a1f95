"""Options that change pictures: models, text, noise, samplers, img2img, hires fix, faces, ControlNet.

Names, defaults and meanings are the interface of A1111 1.10; ranges are those of its sliders, widened where
a larger value is harmless.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from easel_contract.options.base import OptionGroup

SMALLEST_TILE = 16
"""Pixels of a side: below, a large picture would be millions of runs of a network."""

RandnSource = Literal["GPU", "CPU", "NV"]
VaeMethod = Literal["Full", "TAESD"]
Overlap = Annotated[int, Field(ge=0, le=512)]
Tile = Annotated[int, Field(ge=0, le=4096)]
MergingRatio = Annotated[float, Field(ge=0, le=0.9)]


class ModelOptions(OptionGroup):
    """Which weights are used."""

    sd_model_checkpoint: str | None = Field(
        None, description="Checkpoint of requests that name none; null is the service's own default."
    )
    sd_vae: str = Field(
        "Automatic",
        description="Automatic (the one beside the checkpoint, or its own), None (its own), or a file.",
    )
    sd_vae_overrides_per_model_preferences: bool = Field(
        True, description="A file in sd_vae wins over the VAE beside a checkpoint; otherwise that one wins."
    )
    auto_vae_precision: bool = Field(
        True, description="Decode again in 32 bits where half precision gave no numbers."
    )
    sd_vae_encode_method: VaeMethod = Field(
        "Full", description="What makes latents of pictures: the VAE, or TAESD's encoder."
    )
    sd_vae_decode_method: VaeMethod = Field(
        "Full", description="What makes pictures of latents: the VAE, or TAESD's decoder."
    )

    @field_validator("sd_vae")
    @classmethod
    def _words_in_any_case(cls, value: str) -> str:
        return {"automatic": "Automatic", "none": "None", "": "Automatic"}.get(value.casefold(), value)


class TextOptions(OptionGroup):
    """How a prompt becomes conditioning."""

    emphasis: Literal["None", "Ignore", "Original", "No norm"] = Field(
        "Original", description="What the weights of (words:1.1) do."
    )
    CLIP_stop_at_last_layers: int = Field(
        1, ge=1, le=12, description="Layer of CLIP that is used, from the end: clip skip."
    )
    sdxl_clip_l_skip: bool = Field(False, description="Clip skip for the smaller encoder of SDXL too.")
    comma_padding_backtrack: int = Field(
        20, ge=0, le=74, description="Tokens that a cut into chunks may move back to a comma."
    )
    use_old_scheduling: bool = Field(
        False, description="Prompt editing below 1 is a share of one pass, as before A1111 1.6."
    )
    textual_inversion_add_hashes_to_infotext: bool = Field(
        True, description="Infotext tells the embeddings' hashes."
    )
    extra_networks_default_multiplier: float = Field(
        1.0, ge=-10, le=10, description="Weight of a LoRA tag without one."
    )
    sd_hypernetwork: str = Field(
        "None", description="Hypernetwork for prompts that do not name it; None is none."
    )
    sd_lora: str = Field("None", description="LoRA for prompts that do not name it; None is none.")
    lora_add_hashes_to_infotext: bool = Field(True, description="Infotext tells the LoRAs' hashes.")
    sdxl_crop_top: int = Field(0, ge=0, le=16_384, description="SDXL's crop condition, from above.")
    sdxl_crop_left: int = Field(0, ge=0, le=16_384, description="SDXL's crop condition, from the left.")
    sdxl_refiner_low_aesthetic_score: float = Field(
        2.5, ge=0, le=10, description="Aesthetic score of the refiner's negative condition."
    )
    sdxl_refiner_high_aesthetic_score: float = Field(
        6.0, ge=0, le=10, description="Aesthetic score of the refiner's positive condition."
    )
    pad_cond_uncond: bool = Field(False, description="Prompts of unequal length are padded to the same.")
    pad_cond_uncond_v0: bool = Field(False, description="The same by repeating the last vector.")


class NoiseOptions(OptionGroup):
    """Where noise comes from."""

    randn_source: RandnSource = Field(
        "NV",
        description="Generator: NV (NVIDIA's numbers, computed anywhere), GPU (the same) or CPU. A1111's "
        "default is GPU.",
    )
    eta_noise_seed_delta: int = Field(
        0, ge=-(2**31), le=2**31, description="Added to the seed of ancestral samplers (ENSD)."
    )
    initial_noise_multiplier: float = Field(1.0, ge=0, le=1.5, description="Scale of img2img's first noise.")
    img2img_extra_noise: float = Field(
        0.0, ge=0, le=1, description="Noise added to the latent of img2img and hires fix."
    )
    sgm_noise_multiplier: bool = Field(False, description="First noise scaled as Stability's code does.")
    no_dpmpp_sde_batch_determinism: bool = Field(
        False, description="SDE samplers draw one noise for a batch, as before A1111 1.0."
    )


class SamplerOptions(OptionGroup):
    """What samplers and schedules take; a request's own field of the same meaning wins."""

    hide_samplers: tuple[str, ...] = Field((), description="Samplers that the list of samplers leaves out.")
    eta_ddim: float = Field(0.0, ge=0, le=1, description="Noise multiplier of DDIM.")
    eta_ancestral: float = Field(1.0, ge=0, le=1, description="Noise multiplier of ancestral samplers.")
    s_churn: float = Field(0.0, ge=0, le=100, description="Churn of Euler, Heun and DPM2.")
    s_tmin: float = Field(0.0, ge=0, le=100, description="Least sigma at which churn acts.")
    s_tmax: float = Field(0.0, ge=0, le=999, description="Largest sigma at which churn acts; 0 is any.")
    s_noise: float = Field(1.0, ge=0, le=1.1, description="Scale of the noise that churn adds.")
    s_min_uncond: float = Field(
        0.0, ge=0, le=15, description="Below this sigma the negative prompt is left out of every other step."
    )
    s_min_uncond_all: bool = Field(False, description="The same for every step.")
    sigma_min: float = Field(0.0, ge=0, le=1000, description="Least sigma of a schedule; 0 is the model's.")
    sigma_max: float = Field(0.0, ge=0, le=1000, description="Largest sigma of a schedule; 0 is the model's.")
    rho: float = Field(0.0, ge=0, le=100, description="rho of Karras and polyexponential; 0 is their own.")
    always_discard_next_to_last_sigma: bool = Field(
        False, description="The last sigma but one is left out, whatever the sampler wants."
    )
    uni_pc_variant: Literal["bh1", "bh2", "vary_coeff"] = Field("bh1", description="B(h) of UniPC.")
    uni_pc_skip_type: Literal["time_uniform", "time_quadratic", "logSNR"] = Field(
        "time_uniform", description="Timesteps of UniPC."
    )
    uni_pc_order: int = Field(3, ge=1, le=50, description="Order of UniPC; must be less than the steps.")
    uni_pc_lower_order_final: bool = Field(True, description="UniPC ends with lower orders.")
    sd_noise_schedule: Literal["Default", "Zero Terminal SNR"] = Field(
        "Default", description="Whether the model's schedule ends in pure noise."
    )
    skip_early_cond: float = Field(
        0.0, ge=0, le=1, description="Share of the first steps without the negative prompt."
    )
    beta_dist_alpha: float = Field(0.6, gt=0, le=5, description="Alpha of the scheduler Beta.")
    beta_dist_beta: float = Field(0.6, gt=0, le=5, description="Beta of the scheduler Beta.")
    use_downcasted_alpha_bar: bool = Field(
        False, description="Alphas rounded to half precision, as models before SD2 were run."
    )
    use_old_karras_scheduler_sigmas: bool = Field(False, description="Karras between 0.1 and 10.")
    refiner_switch_by_sample_steps: bool = Field(
        False, description="The refiner takes over by steps instead of model timesteps."
    )


class Img2ImgOptions(OptionGroup):
    """What img2img does around sampling."""

    inpainting_mask_weight: float = Field(
        1.0, ge=0, le=1, description="How much of the picture an inpainting checkpoint has masked."
    )
    img2img_color_correction: bool = Field(False, description="Results get the colours of the picture given.")
    img2img_fix_steps: bool = Field(
        False, description="img2img makes all steps instead of the share that denoising asks for."
    )
    img2img_background_color: str = Field(
        "#ffffff", pattern=r"^#[0-9a-fA-F]{6}$", description="Colour behind transparent pictures, #rrggbb."
    )
    overlay_inpaint: bool = Field(True, description="What was not masked is pasted back over the result.")
    return_mask: bool = Field(False, description="Answers contain the mask.")
    return_mask_composite: bool = Field(False, description="Answers contain the masked part.")
    upscaler_for_img2img: str | None = Field(
        None, description="Upscaler that resizes the picture of img2img; null is Lanczos."
    )


class MergingOptions(OptionGroup):
    """Token merging: quicker, and a little less exact."""

    token_merging_ratio: MergingRatio = Field(
        0.0, description="Part of the tokens that self-attention at full size merges; 0 is none."
    )
    token_merging_ratio_img2img: MergingRatio = Field(0.0, description="The same in img2img; 0 is as above.")
    token_merging_ratio_hr: MergingRatio = Field(
        0.0, description="The same in the hires pass; 0 is as above."
    )


class HiresOptions(OptionGroup):
    """The second pass."""

    hires_fix_refiner_pass: Literal["first pass", "second pass", "both passes"] = Field(
        "second pass", description="Which pass the refiner takes part in."
    )
    use_old_hires_fix_width_height: bool = Field(
        False, description="width and height are the second pass's, the first is found from them."
    )


class PictureOptions(OptionGroup):
    """Tiling and faces."""

    tiling: bool = Field(False, description="Pictures that tile.")
    face_restoration: bool = Field(False, description="Faces are restored unless the request says no.")
    face_restoration_model: Literal["CodeFormer", "GFPGAN"] = Field("CodeFormer", description="With what.")
    code_former_weight: float = Field(
        0.5, ge=0, le=1, description="CodeFormer's weight: 0 changes most, 1 least."
    )


class UpscalerOptions(OptionGroup):
    """How large the pieces are that upscalers' networks see at once."""

    ESRGAN_tile: Tile = Field(
        192,
        description="Pixels of a side of ESRGAN's tiles, and of those of kinds not named below; 0 is none.",
    )
    ESRGAN_tile_overlap: Overlap = Field(8, description="Pixels that neighbours share; at most half a tile.")
    DAT_tile: Tile = Field(192, description="The same for DAT.")
    DAT_tile_overlap: Overlap = Field(8, description="The same for DAT.")
    SWIN_tile: Tile = Field(192, description="The same for SwinIR and Swin2SR.")
    SWIN_tile_overlap: Overlap = Field(8, description="The same for SwinIR and Swin2SR.")
    SCUNET_tile: Tile = Field(256, description="The same for ScuNET.")
    SCUNET_tile_overlap: Overlap = Field(8, description="The same for ScuNET.")

    @field_validator("ESRGAN_tile", "DAT_tile", "SWIN_tile", "SCUNET_tile")
    @classmethod
    def _none_or_not_tiny(cls, value: int) -> int:
        if 0 < value < SMALLEST_TILE:
            raise ValueError(f"use 0 (the picture whole) or {SMALLEST_TILE} and more")
        return value


class ControlOptions(OptionGroup):
    """ControlNet."""

    control_net_model_cache_size: int = Field(
        2, ge=1, le=20, description="Models beside the checkpoints that stay in memory."
    )
    control_net_no_detectmap: bool = Field(False, description="Answers contain no control maps.")
    control_net_detectmap_autosaving: bool = Field(
        False, description="With `save_images` control maps are stored too, in `controlnet_mask` there."
    )
    control_net_inpaint_blur_sigma: float = Field(
        7.0, ge=0, le=64, description="How soft `inpaint_only` goes over into what is kept, in pixels."
    )
    controlnet_increment_seed_during_batch: bool = Field(
        False, description="Preprocessors that draw lots draw them anew for each of `n_iter`."
    )
