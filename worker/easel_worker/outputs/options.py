"""The options that decide how pictures are written, named and described, under A1111's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from easel_contract.errors import ContractError

FORMATS = ("png", "jpg", "jpeg", "webp", "avif", "gif")


@dataclass(frozen=True)
class OutputOptions:
    """A1111's options for files, grids, names and infotexts, with its defaults.

    Build it with `from_options`, which checks them.
    """

    samples_format: str = "png"
    """One of `FORMATS`; also the format of answers."""
    grid_format: str = "png"
    jpeg_quality: int = 80
    """1 to 100, for JPEG, WebP and AVIF."""
    webp_lossless: bool = False
    enable_pnginfo: bool = True
    """Write infotexts into pictures (of any format)."""
    save_txt: bool = False
    """Also write each infotext to ``<name>.txt``."""
    export_for_4chan: bool = True
    """Also write a JPEG of a stored picture that is larger than the next two say."""
    img_downscale_threshold: float = 4.0
    """MiB of the file."""
    target_side_length: int = 4000
    """Pixels of the longer side."""

    samples_save: bool = True
    grid_save: bool = True
    return_grid: bool = True
    grid_only_if_multiple: bool = True
    grid_prevent_empty_spots: bool = False
    n_rows: int = -1
    """Rows of a grid: -1 as square as can be, 0 the batch size."""

    samples_filename_pattern: str = ""
    save_images_add_number: bool = True
    save_to_dirs: bool = True
    grid_save_to_dirs: bool = True
    directories_filename_pattern: str = "[date]"
    directories_max_prompt_words: int = 8
    grid_extended_filename: bool = False
    outdir_samples: str = ""
    """Wins over the folder of each kind where it is set."""
    outdir_txt2img_samples: str = "outputs/txt2img-images"
    outdir_img2img_samples: str = "outputs/img2img-images"
    outdir_extras_samples: str = "outputs/extras-images"
    outdir_grids: str = ""
    outdir_txt2img_grids: str = "outputs/txt2img-grids"
    outdir_img2img_grids: str = "outputs/img2img-grids"

    add_model_name_to_info: bool = True
    add_model_hash_to_info: bool = True
    add_vae_name_to_info: bool = True
    add_vae_hash_to_info: bool = True
    add_version_to_infotext: bool = True
    add_user_name_to_info: bool = False

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> OutputOptions:
        """Those of `options` that are named above; the others are none of our business, null is the default.

        Raises:
            ContractError: 422, a value of the wrong type or out of its range; names the option.
        """
        hints = get_type_hints(cls)
        values: dict[str, Any] = {
            field.name: _read(field.name, hints[field.name], options[field.name])
            for field in fields(cls)
            if options.get(field.name) is not None
        }
        made = cls(**values)
        made._check()
        return made

    def samples_folder(self, kind: str) -> str:
        """Where A1111 keeps pictures of `kind`: ``txt2img``, ``img2img`` or ``extras``."""
        return self.outdir_samples or str(getattr(self, f"outdir_{kind}_samples"))

    def grids_folder(self, kind: str) -> str:
        """Where A1111 keeps grids of `kind`: ``txt2img`` or ``img2img``."""
        return self.outdir_grids or str(getattr(self, f"outdir_{kind}_grids"))

    def _check(self) -> None:
        for name in ("samples_format", "grid_format"):
            value = getattr(self, name)
            if value.lower() not in FORMATS:
                raise _refusal(name, f"Invalid image format {value[:40]!r}; use one of {', '.join(FORMATS)}")
        for name, least, most in (
            ("jpeg_quality", 1, 100),
            ("n_rows", -1, 1000),
            ("directories_max_prompt_words", 0, 100),
            ("target_side_length", 1, 65_535),
            ("img_downscale_threshold", 0, 1_000_000),
        ):
            if not least <= getattr(self, name) <= most:
                raise _refusal(name, f"is a number from {least} to {most}")
        for name in ("samples_filename_pattern", "directories_filename_pattern"):
            if len(getattr(self, name)) > MAX_PATTERN:
                raise _refusal(name, f"has more than {MAX_PATTERN} characters")


MAX_PATTERN = 1000


def _read(name: str, kind: type, value: object) -> object:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
    raise _refusal(name, f"is {wanted}")


def _refusal(name: str, message: str) -> ContractError:
    return ContractError(message, field=f"override_settings.{name}")
