"""The one door to diffusers, transformers and safetensors: offline, silent, and in the order that is quick to
load.

Both libraries may call the Hugging Face hub, print progress bars, and log tables of weights. A worker does
none of that: its models are folders on a disk and its log lines are its own. Import the classes from here
only.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any

# Must be set before huggingface_hub is imported: it reads them once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


class _AtFirstUse(ModuleType):
    """Stands in for a module until something in it is asked for. (`importlib.util.LazyLoader`'s is loaded by
    the second `import` already.)"""

    def __getattr__(self, name: str) -> Any:
        if name == "__file__":  # `inspect` asks all modules, whenever torch registers an operation
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


# diffusers' models bring its schedulers along, which import these 22 MB for one kind of levels. We use none.
sys.modules.setdefault("scipy.stats", _AtFirstUse("scipy.stats"))

import diffusers
import transformers
from diffusers import AutoencoderKL, ControlNetModel, ControlNetUnionModel, T2IAdapter, UNet2DConditionModel
from diffusers.models.modeling_utils import no_init_weights
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

for _logging in (diffusers.utils.logging, transformers.utils.logging):
    _logging.set_verbosity_error()
    _logging.disable_progress_bar()

__all__ = [
    "AutoencoderKL",
    "CLIPTextConfig",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "CLIPTokenizer",
    "ControlNetModel",
    "ControlNetUnionModel",
    "T2IAdapter",
    "UNet2DConditionModel",
    "load_file",
    "no_init_weights",
    "safe_open",
    "save_file",
    "transformers",
]
