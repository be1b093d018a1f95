"""Options that change what is stored and answered: files, grids, infotext, previews, interrogation, API."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from easel_contract.options.base import OptionGroup

ImageFormat = Literal["png", "jpg", "jpeg", "webp", "avif", "gif"]


class SavingOptions(OptionGroup):
    """Which files are written, where, and how they are encoded. Folders are below the storage's root."""

    samples_save: bool = Field(True, description="Pictures are stored when the request asks for it.")
    samples_format: ImageFormat = Field("png", description="Format of pictures, stored and answered.")
    samples_filename_pattern: str = Field("", description="Pattern of their names; empty is [seed].")
    save_images_add_number: bool = Field(True, description="Names begin with a running number.")
    grid_save: bool = Field(True, description="Grids are stored.")
    grid_format: ImageFormat = Field("png", description="Format of grids.")
    grid_extended_filename: bool = Field(False, description="Names of grids tell seed and prompt too.")
    grid_only_if_multiple: bool = Field(True, description="No grid of a single picture.")
    grid_prevent_empty_spots: bool = Field(False, description="Grids have no empty places.")
    grid_background_color: str = Field(
        "#ffffff", pattern=r"^#[0-9a-fA-F]{6}$", description="Colour of empty places, #rrggbb."
    )
    n_rows: int = Field(-1, ge=-1, le=256, description="Rows of a grid; -1 is square, 0 is the batch size.")
    return_grid: bool = Field(True, description="Answers begin with the grid.")
    jpeg_quality: int = Field(80, ge=1, le=100, description="Quality of JPEG, WebP and AVIF.")
    webp_lossless: bool = Field(False, description="WebP without loss.")
    export_for_4chan: bool = Field(True, description="A JPEG copy of pictures that are too large.")
    img_downscale_threshold: float = Field(4.0, ge=0, le=1000, description="Too large, in megabytes.")
    target_side_length: float = Field(4000, ge=64, le=65_535, description="Too large, in pixels of a side.")
    img_max_size_mp: float = Field(200, ge=1, le=2000, description="No file for more megapixels.")
    save_txt: bool = Field(False, description="Infotext beside each picture as a text file.")
    save_to_dirs: bool = Field(True, description="Pictures go to a sub-folder.")
    grid_save_to_dirs: bool = Field(True, description="Grids go to a sub-folder.")
    directories_filename_pattern: str = Field("[date]", description="Pattern of that sub-folder.")
    directories_max_prompt_words: int = Field(8, ge=1, le=20, description="Words of [prompt_words].")
    outdir_samples: str = Field("", description="Folder of all pictures, instead of the next two.")
    outdir_txt2img_samples: str = Field("outputs/txt2img-images", description="Folder of txt2img's pictures.")
    outdir_img2img_samples: str = Field("outputs/img2img-images", description="Folder of img2img's pictures.")
    outdir_grids: str = Field("", description="Folder of all grids, instead of the next two.")
    outdir_txt2img_grids: str = Field("outputs/txt2img-grids", description="Folder of txt2img's grids.")
    outdir_img2img_grids: str = Field("outputs/img2img-grids", description="Folder of img2img's grids.")
    save_incomplete_images: bool = Field(
        False, description="Pictures that an interrupt or a skip ended early are stored, too."
    )
    save_init_img: bool = Field(False, description="img2img's inputs are stored beside the pictures.")
    save_mask: bool = Field(False, description="Masks are stored.")
    save_mask_composite: bool = Field(False, description="Masked parts are stored.")
    save_images_before_highres_fix: bool = Field(False, description="First passes are stored.")
    save_images_before_face_restoration: bool = Field(False, description="Pictures before it are stored.")
    save_images_before_color_correction: bool = Field(False, description="Pictures before it are stored.")


class InfotextOptions(OptionGroup):
    """What the text chunk of a picture tells."""

    enable_pnginfo: bool = Field(True, description="Pictures carry their infotext.")
    add_model_name_to_info: bool = Field(True, description="The checkpoint's name.")
    add_model_hash_to_info: bool = Field(True, description="The checkpoint's hash.")
    add_vae_name_to_info: bool = Field(True, description="The VAE's name.")
    add_vae_hash_to_info: bool = Field(True, description="The VAE's hash.")
    add_version_to_infotext: bool = Field(True, description="The program's version.")
    add_user_name_to_info: bool = Field(False, description="The user.")


class PreviewOptions(OptionGroup):
    """Pictures of a task that is still running."""

    live_previews_enable: bool = Field(True, description="Progress shows a picture.")
    live_previews_image_format: Literal["png", "jpeg", "webp"] = Field("png", description="Its format.")
    show_progress_grid: bool = Field(True, description="All pictures of a batch in one.")
    show_progress_every_n_steps: int = Field(
        10, ge=-1, le=1000, description="Steps between two; -1 is one for each batch."
    )
    show_progress_type: Literal["Full", "Approx NN", "Approx cheap", "TAESD"] = Field(
        "Approx NN", description="How it is decoded."
    )
    live_preview_content: Literal["Combined", "Prompt", "Negative prompt"] = Field(
        "Prompt", description="What it shows: the prediction by one prompt alone, or by both."
    )


class InterrogateOptions(OptionGroup):
    """How a picture is described."""

    interrogate_clip_num_beams: int = Field(1, ge=1, le=16, description="Beams of BLIP's search.")
    interrogate_clip_min_length: int = Field(24, ge=1, le=128, description="Least tokens of BLIP's caption.")
    interrogate_clip_max_length: int = Field(48, ge=1, le=256, description="Most tokens of BLIP's caption.")
    interrogate_clip_dict_limit: int = Field(1500, ge=0, description="Lines of each word list; 0 is all.")
    interrogate_clip_skip_categories: tuple[str, ...] = Field((), description="Word lists left out.")
