"""From a request to its jobs: names resolved against this worker's models, pictures decoded, defaults set.

Runs in the prefetch stage, beside the job that the torch thread renders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from PIL import Image

from easel_contract.checkpoints import Library, ModelFile
from easel_contract.controlnet import ControlUnit
from easel_contract.errors import ContractError
from easel_contract.needs import networks_need
from easel_contract.network_files import NetworkFiles
from easel_contract.options import RenderOptions, effective
from easel_contract.requests import GenerationRequest, Img2ImgRequest, Txt2ImgRequest
from easel_contract.requests.checks import check_size
from easel_contract.requests.scripts import OutpaintingMk2, PoorMansOutpainting, SDUpscale
from easel_contract.requests.txt2img import own_choice
from easel_contract.savedir import SaveDir, resolve_save_dir
from easel_contract.styles import StyleBook, apply_styles, unknown_styles
from easel_contract.upscalers import find_detector, find_restorer, find_upscaler
from easel_contract.vae_files import VaeFile
from easel_worker.annotators import Annotators
from easel_worker.diffusion.extra_networks import NetworkUse
from easel_worker.diffusion.latents import DEFAULT_LATENT_MODE, LATENT_MODES
from easel_worker.diffusion.prompts.comments import strip_comments
from easel_worker.generation.control.hints import warm
from easel_worker.generation.control.planning import UnitPlanner
from easel_worker.generation.control.unit import Unit
from easel_worker.generation.hires import size_of
from easel_worker.generation.job import Hires, Job, Picture, Refiner, Source, Steps
from easel_worker.generation.networks import networks_of, with_chosen_networks
from easel_worker.generation.scripts.running import Work, work_of
from easel_worker.generation.vae_choice import VaeChooser
from easel_worker.imaging.hires_size import legacy_sizes
from easel_worker.imaging.inpainting import MaskedContent, MaskFields
from easel_worker.imaging.masks import mask_from
from easel_worker.intake import Intake
from easel_worker.seeds import resolve_seeds
from easel_worker.settings import WorkerSettings

Opened = dict[str, Image.Image]
"""The request's pictures by field, and those without their transparency by field and background."""

STYLES = "styles.csv"
CUTTING = (SDUpscale, OutpaintingMk2, PoorMansOutpainting)
"""Scripts that give their job other init images than the request's."""

PIX2PIX_CFG = 1.5
"""`image_cfg_scale` where a request gives none."""


@dataclass(frozen=True)
class Plan:
    """One task, ready for the torch thread."""

    request: GenerationRequest
    job: Job
    """The request's own, before its script."""
    work: Work
    hashes: Mapping[ModelFile | VaeFile, Future[str]]
    """SHA-256 of every checkpoint that its jobs begin with and of their VAEs, computed while it is rendered;
    empty where there is no file to read."""
    save_dir: SaveDir | None
    networks_need: str = ""
    """The networks of the request as the queue compares them; see `easel_contract.needs`."""
    warnings: tuple[str, ...] = ()
    """What is done otherwise than asked, where the service is set to be lenient."""
    user: str | None = None
    """Whose task it is: the token's name, else the `uid` that was sent."""


class Planner:
    """Makes plans. What it holds may be shared between threads."""

    def __init__(
        self, settings: WorkerSettings, library: Library, intake: Intake, annotators: Annotators
    ) -> None:
        self._settings = settings
        self._limits = settings.limits()
        self._models = settings.data_dir / "models"
        self._library = library
        self._intake = intake
        self._annotators = annotators
        self._controls = UnitPlanner(
            self._models,
            annotators,
            allow_pickle=settings.allow_pickle,
            max_bytes=self._limits.images.max_bytes,
        )
        self._vaes = VaeChooser(self._models, allow_pickle=settings.allow_pickle)
        self._styles = StyleBook(settings.data_dir / STYLES)
        self._networks = NetworkFiles(self._models, allow_pickle=settings.allow_pickle, hashes=library.hashes)

    def plan(self, request: GenerationRequest, stored: Mapping[str, Any]) -> Plan:
        """Resolve names against this worker's models and mounts, and open the request's pictures.

        Args:
            stored: The service's options at the moment at which the task was accepted.

        Raises:
            ContractError: an unknown checkpoint, a directory outside the storage, a picture that is none.
        """
        opened: Opened = {}
        warnings = list(request.warnings)

        units: dict[ControlUnit, Unit] = {}

        def job_of(made: GenerationRequest) -> Job:
            job = self._job_of(made, effective(stored, made.overrides.values), opened, warnings)
            open_ = partial(self._open, opened=opened)
            return replace(job, units=self._controls.units(made, job, open_, units, warnings))

        job = job_of(request)
        if isinstance(request.script, SDUpscale):
            find_upscaler(self._models, request.script.upscaler_name, field="script_args.upscaler")
        save_dir = request.options.save_dir
        work = work_of(request, job, job_of, self._limits)
        for one in work.jobs:
            warm(one, self._annotators, cut_up=isinstance(request.script, CUTTING))
        return Plan(
            request=request,
            job=job,
            work=work,
            hashes=self._hashes((job, *work.jobs)),
            save_dir=None if save_dir is None else resolve_save_dir(save_dir, self._settings.mount_paths),
            networks_need=networks_need(request, stored),
            warnings=tuple(dict.fromkeys(warnings)),
        )

    def _hashes(self, jobs: Iterable[Job]) -> Mapping[ModelFile | VaeFile, Future[str]]:
        hashes: dict[ModelFile | VaeFile, Future[str]] = {}
        for one in jobs:
            vae = one.vaes.get(one.model)
            if one.model not in hashes:
                hashes[one.model] = self._library.hash_soon(one.model)
            if vae is not None and vae not in hashes:
                hashes[vae] = self._library.hashes.soon(vae.weights)
        return hashes

    def _job_of(
        self, request: GenerationRequest, options: RenderOptions, opened: Opened, warnings: list[str]
    ) -> Job:
        name = request.checkpoint or options.sd_model_checkpoint
        model = self._library.resolve(name or self._library.default(self._settings.default_checkpoint))
        job = self._job(request, options, model, warnings)
        if isinstance(request, Img2ImgRequest):
            job = self._img2img(request, job, opened)
        elif isinstance(request, Txt2ImgRequest):
            job = self._txt2img(request, job, opened, warnings)
        asked = request.options.sd_vae or options.sd_vae
        return replace(job, vaes=self._vaes.choose(job.models, asked, options))

    def _job(
        self, request: GenerationRequest, options: RenderOptions, model: ModelFile, warnings: list[str]
    ) -> Job:
        refiner = request.refiner
        resize = request.seed_resize_from_w, request.seed_resize_from_h
        return Job(
            model=model,
            pictures=self._pictures(request, options, warnings),
            batch_size=request.batch_size,
            width=request.width,
            height=request.height,
            steps=Steps(request.choice, request.steps, request.cfg_scale),
            options=_with_fields(options, request),
            subseed_strength=request.subseed_strength,
            seed_resize_from=resize if min(resize) > 0 else None,
            tiling=options.tiling if request.tiling is None else request.tiling,
            restore_faces=self._restores(request, options, warnings),
            networks=not request.disable_extra_networks,
            strict_networks=request.strict,
            refiner=Refiner(self._model(refiner[0], "refiner_checkpoint"), refiner[1]) if refiner else None,
        )

    def _restores(self, request: GenerationRequest, options: RenderOptions, warnings: list[str]) -> bool:
        asked = options.face_restoration if request.restore_faces is None else request.restore_faces
        if not asked:
            return False
        try:
            for find in (find_restorer, find_detector):
                find(self._models, options.face_restoration_model, field="restore_faces")
        except ContractError as error:
            if request.strict:
                raise
            warnings.append(str(error))
            return False
        return True

    def _pictures(
        self, request: GenerationRequest, options: RenderOptions, warnings: list[str]
    ) -> tuple[Picture, ...]:
        """Image i has seed + i; with a variation strength all have one seed, and subseed + i."""
        prompt, negative_prompt, networks = self._texts(
            request, request.prompt, request.negative_prompt, options, "prompt", warnings
        )
        count = request.images
        seeds = resolve_seeds(request.seed, count)
        if request.subseed_strength:
            seeds = seeds[:1] * count
        return tuple(
            Picture(prompt, negative_prompt, seed, subseed, networks)
            for seed, subseed in zip(seeds, resolve_seeds(request.subseed, count), strict=True)
        )

    def _texts(
        self,
        request: GenerationRequest,
        prompt: str,
        negative_prompt: str,
        options: RenderOptions,
        field: str,
        warnings: list[str],
    ) -> tuple[str, str, tuple[NetworkUse, ...]]:
        """Both prompts with the request's styles and without comments, and the networks that the positive one
        asks for. `field` is that prompt's."""
        styles = self._styles.styles()
        prompt, negative_prompt = apply_styles(
            prompt,
            negative_prompt,
            request.styles,
            styles,
            strict=request.strict,
            max_chars=self._limits.max_prompt_chars,
        )
        warnings += [f"styles: {problem}" for problem in unknown_styles(request.styles, styles)]
        prompt, negative_prompt = strip_comments(prompt), strip_comments(negative_prompt)
        if request.disable_extra_networks:
            return prompt, negative_prompt, ()
        prompt = with_chosen_networks(prompt, options)
        networks, problems = networks_of(
            prompt, options.extra_networks_default_multiplier, self._networks, field=field
        )
        for problem in problems:
            if request.strict:
                raise ContractError(problem, field=field)
            warnings.append(f"{field}: {problem}")
        return prompt, negative_prompt, networks

    def _txt2img(self, request: Txt2ImgRequest, job: Job, opened: Opened, warnings: list[str]) -> Job:
        if not request.enable_hr:
            return job
        if job.options.use_old_hires_fix_width_height:
            first, enlarged = legacy_sizes((job.width, job.height), request.first_size)
            job = replace(job, width=first[0], height=first[1])
            request = request.model_copy(update={"hr_resize_x": enlarged[0], "hr_resize_y": enlarged[1]})
        firstpass = request.firstpass_image
        return replace(
            job,
            hires=self._hires(request, job, warnings),
            firstpass=self._flat(firstpass, "firstpass_image", job, opened) if firstpass else None,
        )

    def _hires(self, request: Txt2ImgRequest, job: Job, warnings: list[str]) -> Hires:
        strength, name = request.denoising_strength, own_choice(request.hr_checkpoint_name)
        prompt, negative_prompt, networks = self._texts(
            request, request.hr_prompt, request.hr_negative_prompt, job.options, "hr_prompt", warnings
        )
        hires = Hires(
            scale=request.hr_scale,
            resize_x=request.hr_resize_x,
            resize_y=request.hr_resize_y,
            upscaler=self._upscaler(request, warnings),
            steps=request.hr_second_pass_steps or request.steps,
            denoising_strength=Hires.denoising_strength if strength is None else strength,
            model=self._model(name, "hr_checkpoint_name") if name else None,
            choice=request.hires_choice,
            # Where a request has none of its own, each picture keeps its own, whatever a style adds.
            prompt=prompt if request.hr_prompt else "",
            negative_prompt=negative_prompt if request.hr_negative_prompt else "",
            networks=networks if request.hr_prompt else (),
        )
        field = "hr_scale" if request.hires_by_scale else "hr_resize_x"
        try:
            check_size(size_of(job, hires).size, self._limits, field)
        except ValueError as error:
            raise ContractError(str(error), field=field) from None
        return hires

    def _upscaler(self, request: Txt2ImgRequest, warnings: list[str]) -> str:
        """The hires pass's: a latent mode, or one of the upscalers."""
        name = (request.hr_upscaler or DEFAULT_LATENT_MODE).strip()
        for mode in LATENT_MODES:
            if mode.casefold() == name.casefold():
                return mode
        try:
            return find_upscaler(self._models, name, field="hr_upscaler").name
        except ContractError as error:
            if request.strict:
                raise
            warnings.append(f"{error}; {DEFAULT_LATENT_MODE} was used")
            return DEFAULT_LATENT_MODE

    def _img2img(self, request: Img2ImgRequest, job: Job, opened: Opened) -> Job:
        options = job.options
        texts = request.pictures
        inits = [field for field in texts if field not in ("mask", "latent_mask")]
        noise, cfg = request.initial_noise_multiplier, request.image_cfg_scale
        latent_mask = texts.get("latent_mask")
        blur_x, blur_y = request.blur
        name = options.upscaler_for_img2img
        if name:
            find_upscaler(self._models, name, field="override_settings.upscaler_for_img2img")
        source = Source(
            images=tuple(self._flat(texts[field], field, job, opened) for field in inits),
            resize_mode=request.resize_mode,
            mask=self._open(request.mask, "mask", opened) if request.mask else None,
            latent_mask=mask_from(self._open(latent_mask, "latent_mask", opened)) if latent_mask else None,
            fields=MaskFields(
                blur_x=blur_x,
                blur_y=blur_y,
                hard=request.mask_round,
                inverted=request.inpainting_mask_invert,
                only_masked=request.inpaint_full_res,
                padding=request.inpaint_full_res_padding,
                content=MaskedContent(request.inpainting_fill),
            ),
            noise_multiplier=options.initial_noise_multiplier if noise is None else noise,
            image_cfg_scale=PIX2PIX_CFG if cfg is None else cfg,
            soft=request.alwayson.soft_inpainting,
        )
        return replace(job, source=source, denoising_strength=request.denoising_strength)

    def _open(self, text: str, field: str, opened: Opened) -> Image.Image:
        """A picture of the request, decoded once for all jobs of its script."""
        if field not in opened:
            opened[field] = self._intake.open(text, field=field)
        return opened[field]

    def _flat(self, text: str, field: str, job: Job, opened: Opened) -> Image.Image:
        """A picture to start from: "RGB", what is transparent filled with the background colour."""
        image = self._open(text, field, opened)
        if image.mode == "RGB":
            return image
        colour = job.options.img2img_background_color
        key = f"{field} on {colour}"
        if key not in opened:
            opened[key] = Image.new("RGB", image.size, colour)
            opened[key].paste(image, mask=image.getchannel("A"))
        return opened[key]

    def _model(self, name: str, field: str) -> ModelFile:
        try:
            return self._library.resolve(name)
        except ContractError as error:
            raise ContractError(error.message, field=field) from None


def _with_fields(options: RenderOptions, request: GenerationRequest) -> RenderOptions:
    """The options with what the request's own fields of the same meaning say instead."""
    fields = {
        "s_churn": request.s_churn,
        "s_tmin": request.s_tmin,
        "s_tmax": request.s_tmax,
        "s_noise": request.s_noise,
        "s_min_uncond": request.s_min_uncond,
        "eta_ancestral": request.eta,
        "eta_ddim": request.eta,
    }
    asked = request.overrides.values
    if asked.get("token_merging_ratio") and not asked.get("token_merging_ratio_img2img"):
        # What a request asks for itself wins over what the service has for img2img.
        fields["token_merging_ratio_img2img"] = asked["token_merging_ratio"]
    return options.model_copy(update={key: value for key, value in fields.items() if value is not None})
