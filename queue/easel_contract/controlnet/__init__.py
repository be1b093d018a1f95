"""The contract of ControlNet: units in a request, preprocessors, model files, the calls of `/controlnet`."""

from __future__ import annotations

from easel_contract.controlnet.models import ControlFile, ControlFiles
from easel_contract.controlnet.modules import MODULES, Module, find_module
from easel_contract.controlnet.reading import Units, read_units
from easel_contract.controlnet.sliders import Slider
from easel_contract.controlnet.unit import ControlUnit, UnitPicture
from easel_contract.controlnet.words import ControlMode, HrOption, PulidMode, ResizeMode, UnionControlType

__all__ = [
    "MODULES",
    "ControlFile",
    "ControlFiles",
    "ControlMode",
    "ControlUnit",
    "HrOption",
    "Module",
    "PulidMode",
    "ResizeMode",
    "Slider",
    "UnionControlType",
    "UnitPicture",
    "Units",
    "find_module",
    "read_units",
]
