"""``/sdapi/v1/cmd-flags``: our settings under the names of A1111's command line flags."""

from __future__ import annotations

from typing import Any

from easel_contract.styles import FILE_NAME
from easel_gateway.settings import GatewaySettings, is_loopback

MASK = "***"
"""In the place of a secret that is set."""

_FIXED: dict[str, Any] = {
    "api": True,
    "nowebui": True,
    "api_log": False,
    "gradio_auth": None,
    "gradio_auth_path": None,
    "share": False,
    "freeze_settings": False,
    "freeze_settings_in_sections": None,
    "freeze_specific_settings": None,
    "hide_ui_dir_config": False,
    "ui_config_file": None,
    "ui_settings_file": None,
    "no_hashing": False,
    "no_half": False,
    "no_half_vae": False,
    "lowvram": False,
    "medvram": False,
    "medvram_sdxl": False,
    "lowram": False,
    "xformers": False,
    "opt_sdp_attention": True,
    "use_cpu": [],
    "device_id": None,
    "disable_nan_check": False,
    "disable_safe_unpickle": False,
    "do_not_download_clip": True,
    "enable_insecure_extension_access": False,
    "allow_code": False,
    "tls_keyfile": None,
    "tls_certfile": None,
    "subpath": None,
    "test_server": False,
}
"""Flags that Easel has no setting for, with what holds for it."""


def cmd_flags(settings: GatewaySettings) -> dict[str, Any]:
    """A1111's flags and their values; paths are absolute, secrets are masked."""
    data = settings.data_dir.absolute()
    models = data / "models"
    folders = {
        "data_dir": data,
        "models_dir": models,
        "ckpt_dir": models / "Stable-diffusion",
        "vae_dir": models / "VAE",
        "lora_dir": models / "Lora",
        "lyco_dir_backcompat": models / "LyCORIS",
        "embeddings_dir": data / "embeddings",
        "hypernetwork_dir": models / "hypernetworks",
        "codeformer_models_path": models / "Codeformer",
        "gfpgan_models_path": models / "GFPGAN",
        "esrgan_models_path": models / "ESRGAN",
        "realesrgan_models_path": models / "RealESRGAN",
        "swinir_models_path": models / "SwinIR",
        "scunet_models_path": models / "ScuNET",
        "dat_models_path": models / "DAT",
        "controlnet_dir": models / "ControlNet",
    }
    return {
        **_FIXED,
        **{name: str(folder) for name, folder in folders.items()},
        "api_auth": MASK if settings.api_auth.get_secret_value() or settings.named_tokens() else None,
        "api_server_stop": settings.api_server_stop,
        "ckpt": settings.default_checkpoint or None,
        "cors_allow_origins": ",".join(settings.cors_origins) or None,
        "cors_allow_origins_regex": settings.cors_origins_regex or None,
        "listen": not is_loopback(settings.host),
        "loglevel": settings.log_level,
        "max_batch_count": settings.max_n_iter,
        "port": settings.port,
        "server_name": settings.host,
        "styles_file": [str(data / FILE_NAME)],
        "timeout_keep_alive": settings.request_timeout_s,
    }
