"""Every preprocessor of the ControlNet extension: names, labels and sliders are its interface.

Weights are named as their authors publish them. Where such a name says nothing by itself, or a folder of
transformers' is needed, it lies in a folder of its own.
"""

from __future__ import annotations

from typing import Final

from easel_contract.controlnet.module import Module
from easel_contract.controlnet.sliders import Slider

_DARK: Final = " (from white bg & black line)"

_MIDAS: Final = ("dpt_hybrid_midas",)
_BODY, _HAND, _FACE = "body_pose_model.pth", "hand_pose_model.pth", "facenet.pth"
_DWPOSE: Final = ("yolox_l.onnx", "dw-ll_ucoco_384.onnx")
_CLIP_H: Final = ("clip_vision/clip_h",)
_CLIP_G: Final = ("clip_vision/clip_g",)
_CLIP_L: Final = ("clip_vision/clip_vitl",)
_BUFFALO: Final = ("insightface/models/buffalo_l",)
_ANTELOPE: Final = ("insightface/models/antelopev2",)

_LINES: Final = ("Lineart",)
_SOFT: Final = ("SoftEdge",)
_SCRIBBLE: Final = ("Scribble",)
_DEPTH: Final = ("Depth",)
_POSE: Final = ("OpenPose",)
_INPAINT: Final = ("Inpaint",)
_SEGMENTS: Final = ("Segmentation",)
_ADAPTER: Final = ("IP-Adapter",)

_GAMMA: Final = Slider("Gamma Correction", 0.1, 2, 1, 0.001)
_FIDELITY: Final = Slider("Style Fidelity", 0, 1, 0.5, 0.01)
_VARIATION: Final = Slider("Variation", 3, 32, 8, 1)
_NEAR: Final = Slider("Remove Near %", 0, 100, 0, 0.1)
_BACKGROUND: Final = Slider("Remove Background %", 0, 100, 0, 0.1)
_SAFE_STEPS: Final = Slider("Safe Steps", 0, 10, 2, 1)
_NOISE: Final = Slider("Noise Augmentation", 0, 1, 0, 0.01)

FREE: Final[tuple[Module, ...]] = (
    Module("none", "none", ("InstructP2P",), resolution=None),
    Module(
        "canny",
        "canny",
        ("Canny",),
        a=Slider("Low Threshold", 1, 255, 100, 1),
        b=Slider("High Threshold", 1, 255, 200, 1),
    ),
    Module("invert", f"invert{_DARK}", ("Canny", "Lineart", "Scribble", "MLSD")),
    Module("blur_gaussian", "blur_gaussian", ("Tile",), a=Slider("Sigma", 0.01, 64, 9, 0.01)),
    Module(
        "scribble_xdog",
        "scribble_xdog",
        ("Scribble", "SparseCtrl"),
        a=Slider("XDoG Threshold", 1, 64, 32, 1),
    ),
    Module("shuffle", "shuffle", ("Shuffle",)),
    Module("threshold", "threshold", (), a=Slider("Binarization Threshold", 0, 255, 127, 1)),
    Module(
        "tile_resample",
        "tile_resample",
        ("Tile",),
        resolution=None,
        a=Slider("Down Sampling Rate", 1, 8, 1, 0.01),
    ),
    Module("tile_colorfix", "tile_colorfix", ("Tile",), resolution=None, a=_VARIATION),
    Module(
        "tile_colorfix+sharp",
        "tile_colorfix+sharp",
        ("Tile",),
        resolution=None,
        a=_VARIATION,
        b=Slider("Sharpness", 0, 2, 1, 0.01),
    ),
    Module("color", "t2ia_color_grid", ("T2I-Adapter",)),
    Module("recolor_luminance", "recolor_luminance", ("Recolor",), a=_GAMMA),
    Module("recolor_intensity", "recolor_intensity", ("Recolor",), a=_GAMMA),
    *(
        Module(name, name, ("Reference",), resolution=None, a=_FIDELITY, model_free=True)
        for name in ("reference_only", "reference_adain", "reference_adain+attn")
    ),
    Module("inpaint", "inpaint_global_harmonious", _INPAINT, resolution=None, needs_mask=True),
    Module("inpaint_only", "inpaint_only", _INPAINT, resolution=None, needs_mask=True),
    Module("lineart_standard", f"lineart_standard{_DARK}", _LINES),
)
"""Those that need no file."""

TRAINED: Final[tuple[Module, ...]] = (
    Module(
        "inpaint_only+lama",
        "inpaint_only+lama",
        _INPAINT,
        resolution=None,
        weights=("ControlNetLama.pth",),
        supported=False,
        reason="Easel has no LaMa",
        needs_mask=True,
    ),
    Module("lineart", "lineart_realistic", _LINES, weights=("sk_model.pth",)),
    Module("lineart_coarse", "lineart_coarse", _LINES, weights=("sk_model2.pth",)),
    Module("lineart_anime", "lineart_anime", _LINES, weights=("netG.pth",)),
    Module(
        "lineart_anime_denoise",
        "lineart_anime_denoise",
        _LINES,
        weights=("erika.pth",),
        supported=False,
        reason="no library that Easel uses has its network",
    ),
    Module("hed", "softedge_hed", _SOFT, weights=("ControlNetHED.pth",)),
    Module("hed_safe", "softedge_hedsafe", _SOFT, weights=("ControlNetHED.pth",)),
    Module("scribble_hed", "scribble_hed", _SCRIBBLE, weights=("ControlNetHED.pth",)),
    Module("pidinet", "softedge_pidinet", _SOFT, weights=("table5_pidinet.pth",)),
    Module("pidinet_safe", "softedge_pidisafe", _SOFT, weights=("table5_pidinet.pth",)),
    Module(
        "pidinet_scribble",
        "scribble_pidinet",
        ("Scribble", "SparseCtrl"),
        weights=("table5_pidinet.pth",),
    ),
    Module("pidinet_sketch", "t2ia_sketch_pidi", ("T2I-Adapter",), weights=("table5_pidinet.pth",)),
    Module("softedge_teed", "softedge_teed", _SOFT, a=_SAFE_STEPS, weights=("7_model.pth",)),
    Module(
        "softedge_anyline",
        "softedge_anyline",
        _SOFT,
        resolution=Slider("Resolution", 64, 2048, 1280, 8),
        a=_SAFE_STEPS,
        weights=("MTEED.pth",),
    ),
    Module(
        "mlsd",
        "mlsd",
        ("MLSD",),
        a=Slider("MLSD Value Threshold", 0.01, 2, 0.1, 0.01),
        b=Slider("MLSD Distance Threshold", 0.01, 20, 0.1, 0.01),
        weights=("mlsd_large_512_fp32.pth",),
    ),
    Module("depth", "depth_midas", _DEPTH, weights=_MIDAS),
    Module(
        "normal_map",
        "normal_midas",
        ("NormalMap",),
        a=Slider("Normal Background Threshold", 0, 1, 0.4, 0.01),
        weights=_MIDAS,
    ),
    Module("depth_leres", "depth_leres", _DEPTH, a=_NEAR, b=_BACKGROUND, weights=("res101.pth",)),
    Module(
        "depth_leres++",
        "depth_leres++",
        _DEPTH,
        a=_NEAR,
        b=_BACKGROUND,
        weights=("res101.pth", "latest_net_G.pth"),
        supported=False,
        reason="its second network cannot be loaded without the program it is part of; use depth_leres",
    ),
    Module("depth_zoe", "depth_zoe", _DEPTH, weights=("zoedepth",)),
    Module("depth_anything", "depth_anything", _DEPTH, weights=("depth_anything",)),
    Module("depth_anything_v2", "depth_anything_v2", _DEPTH, weights=("depth_anything_v2",)),
    Module(
        "depth_hand_refiner",
        "depth_hand_refiner",
        _DEPTH,
        weights=("graphormer_hand_state_dict.bin",),
        supported=False,
        reason="no library that Easel uses has its network",
    ),
    Module("normal_bae", "normal_bae", ("NormalMap",), weights=("scannet.pt",)),
    Module(
        "normal_dsine",
        "normal_dsine",
        ("NormalMap",),
        a=Slider("Fov", 0, 360, 60, 0.1),
        b=Slider("Iterations", 1, 20, 5, 1),
        weights=("dsine.pt",),
        supported=False,
        reason="no library that Easel uses has its network; use normal_bae",
    ),
    Module("openpose", "openpose", _POSE, weights=(_BODY,)),
    Module("openpose_face", "openpose_face", _POSE, weights=(_BODY, _FACE)),
    Module("openpose_faceonly", "openpose_faceonly", _POSE, weights=(_BODY, _FACE)),
    Module("openpose_hand", "openpose_hand", _POSE, weights=(_BODY, _HAND)),
    Module("openpose_full", "openpose_full", _POSE, weights=(_BODY, _HAND, _FACE)),
    Module(
        "dw_openpose_full",
        "dw_openpose_full",
        _POSE,
        weights=_DWPOSE,
        supported=False,
        reason="it needs a runtime for ONNX; use openpose_full",
    ),
    Module(
        "animal_openpose",
        "animal_openpose",
        _POSE,
        weights=("yolox_l.onnx", "rtmpose-m_ap10k_256.onnx"),
        supported=False,
        reason="it needs a runtime for ONNX",
    ),
    Module(
        "densepose",
        "densepose (pruple bg & purple torso)",  # the label has this letter twisted
        _POSE,
        weights=("densepose_r50_fpn_dl.torchscript",),
        supported=False,
        reason="no library that Easel uses has its network",
    ),
    Module(
        "densepose_parula",
        "densepose_parula (black bg & blue torso)",
        _POSE,
        weights=("densepose_r50_fpn_dl.torchscript",),
        supported=False,
        reason="no library that Easel uses has its network",
    ),
    Module(
        "mediapipe_face",
        "mediapipe_face",
        (),
        a=Slider("Max Faces", 1, 10, 1, 1),
        b=Slider("Min Face Confidence", 0.01, 1, 0.5, 0.01),
        supported=False,
        reason="mediapipe no longer has what it calls",
    ),
    Module("segmentation", "seg_ufade20k", _SEGMENTS, weights=("upernet",)),
    Module("oneformer_ade20k", "seg_ofade20k", _SEGMENTS, weights=("oneformer/ade20k",)),
    Module("oneformer_coco", "seg_ofcoco", _SEGMENTS, weights=("oneformer/coco",)),
    Module(
        "anime_face_segment",
        "seg_anime_face",
        _SEGMENTS,
        weights=("UNet.pth",),
        supported=False,
        reason="no library that Easel uses has its network",
    ),
    Module(
        "mobile_sam",
        "mobile_sam",
        _SEGMENTS,
        weights=("mobile_sam.pt",),
        supported=False,
        reason="its network needs timm",
    ),
)
"""Those that make a picture with a network of their own."""

EMBEDDING: Final[tuple[Module, ...]] = (
    Module(
        "clip_vision",
        "t2ia_style_clipvision",
        ("T2I-Adapter",),
        resolution=None,
        weights=_CLIP_L,
        tensor=True,
        supported=False,
        reason="it is for T2I style adapters, which Easel does not read; use ip-adapter-auto",
    ),
    Module(
        "revision_clipvision",
        "revision_clipvision",
        ("Revision",),
        resolution=None,
        a=_NOISE,
        weights=_CLIP_G,
        model_free=True,
        tensor=True,
    ),
    Module(
        "revision_ignore_prompt",
        "revision_ignore_prompt",
        ("Revision",),
        resolution=None,
        a=_NOISE,
        weights=_CLIP_G,
        model_free=True,
        tensor=True,
    ),
    Module("ip-adapter-auto", "ip-adapter-auto", _ADAPTER, resolution=None, tensor=True),
    Module(
        "ip-adapter_clip_sd15", "ip-adapter_clip_h", _ADAPTER, resolution=None, weights=_CLIP_H, tensor=True
    ),
    Module(
        "ip-adapter_clip_sdxl", "ip-adapter_clip_g", _ADAPTER, resolution=None, weights=_CLIP_G, tensor=True
    ),
    Module(
        "ip-adapter_clip_sdxl_plus_vith",
        "ip-adapter_clip_sdxl_plus_vith",
        _ADAPTER,
        resolution=None,
        weights=_CLIP_H,
        tensor=True,
    ),
    Module(
        "ip-adapter_face_id",
        "ip-adapter_face_id",
        _ADAPTER,
        resolution=None,
        weights=_BUFFALO,
        tensor=True,
        supported=False,
        reason="it needs insightface",
    ),
    Module(
        "ip-adapter_face_id_plus",
        "ip-adapter_face_id_plus",
        _ADAPTER,
        resolution=None,
        weights=(*_BUFFALO, *_CLIP_H),
        tensor=True,
        supported=False,
        reason="it needs insightface",
    ),
    Module(
        "ip-adapter_pulid",
        "ip-adapter_pulid",
        _ADAPTER,
        resolution=None,
        weights=_ANTELOPE,
        tensor=True,
        supported=False,
        reason="it needs insightface and facexlib",
    ),
    Module("facexlib", "facexlib", (), weights=("facexlib",), supported=False, reason="it needs facexlib"),
    Module(
        "instant_id_face_embedding",
        "instant_id_face_embedding",
        ("Instant-ID",),
        resolution=None,
        weights=_ANTELOPE,
        tensor=True,
        supported=False,
        reason="it needs insightface",
    ),
    Module(
        "instant_id_face_keypoints",
        "instant_id_face_keypoints",
        ("Instant-ID",),
        resolution=None,
        weights=_ANTELOPE,
        supported=False,
        reason="it needs insightface",
    ),
)
"""Those that look at a picture for an adapter, most of them to give it embeddings."""

TABLE: Final[tuple[Module, ...]] = (*FREE, *TRAINED, *EMBEDDING)
