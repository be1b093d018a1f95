"""Preprocessors with weights, on the torch thread.

    edges.py, lineart.py, mlsd.py, normals.py, openpose.py   networks of controlnet_aux
    depth.py, segmentation.py   networks of transformers, and controlnet_aux's LeReS
    library.py                  the one door to controlnet_aux
    weights.py                  their files

`NETWORKS` tells which network a module runs, and how. Importing this package imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Network:
    """How a module is run: ``place`` is ``module:Class`` below this package, ``options`` go to each call."""

    place: str
    options: Mapping[str, Any] = field(default_factory=dict)


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "hed": Network("edges:Hed"),
        "hed_safe": Network("edges:Hed", {"safe": True}),
        "scribble_hed": Network("edges:Hed", {"scribble": True}),
        "pidinet": Network("edges:Pidinet"),
        "pidinet_safe": Network("edges:Pidinet", {"safe": True}),
        "pidinet_scribble": Network("edges:Pidinet", {"scribble": True}),
        "pidinet_sketch": Network("edges:Pidinet", {"apply_filter": True}),
        "softedge_teed": Network("edges:Teed"),
        "softedge_anyline": Network("edges:Teed", {"anyline": True}),
        "lineart": Network("lineart:Lineart"),
        "lineart_coarse": Network("lineart:Lineart"),
        "lineart_anime": Network("lineart:LineartAnime"),
        "mlsd": Network("mlsd:Mlsd"),
        "depth": Network("depth:Depth"),
        "normal_map": Network("depth:Depth", {"normals": True}),
        "depth_anything": Network("depth:Depth"),
        "depth_anything_v2": Network("depth:Depth"),
        "depth_zoe": Network("depth:Depth", {"metric": True}),
        "depth_leres": Network("depth:Leres"),
        "normal_bae": Network("normals:NormalBae"),
        "segmentation": Network("segmentation:UperNet"),
        "oneformer_ade20k": Network("segmentation:OneFormer"),
        "oneformer_coco": Network("segmentation:OneFormer", {"coco": True}),
        "openpose": Network("openpose:OpenPose"),
        "openpose_hand": Network("openpose:OpenPose"),
        "openpose_face": Network("openpose:OpenPose"),
        "openpose_faceonly": Network("openpose:OpenPose"),
        "openpose_full": Network("openpose:OpenPose"),
    }
)

__all__ = ["NETWORKS", "Network"]
