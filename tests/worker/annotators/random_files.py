"""Files of preprocessors with random weights, under the names that Easel looks for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import save_file

from easel_worker.annotators.networks.library import aux
from easel_worker.diffusion.libraries import transformers


def _anime() -> Any:
    norm = functools.partial(torch.nn.InstanceNorm2d, affine=False, track_running_stats=False)
    return aux("lineart_anime").UnetGenerator(3, 1, 8, 64, norm_layer=norm, use_dropout=False)


def _bae() -> Any:
    args = SimpleNamespace(architecture="BN", sampling_ratio=0.4, importance_ratio=0.7)
    return aux("normalbae.nets.NNET").NNET(args)


NETWORKS: dict[str, Callable[[], Any]] = {
    "ControlNetHED.pth": lambda: aux("hed").ControlNetHED_Apache2(),
    "table5_pidinet.pth": lambda: aux("pidi").pidinet(),
    "7_model.pth": lambda: aux("teed").TED(),
    "MTEED.pth": lambda: aux("teed").TED(),
    "sk_model.pth": lambda: aux("lineart").Generator(3, 1, 3),
    "sk_model2.pth": lambda: aux("lineart").Generator(3, 1, 3),
    "netG.pth": _anime,
    "mlsd_large_512_fp32.pth": lambda: aux("mlsd.models.mbv2_mlsd_large").MobileV2_MLSD_Large(),
    "res101.pth": lambda: aux("leres.leres.multi_depth_model_woauxi").RelDepthModel(backbone="resnext101"),
    "scannet.pt": _bae,
    "body_pose_model.pth": lambda: aux("open_pose.model").bodypose_model(),
    "hand_pose_model.pth": lambda: aux("open_pose.model").handpose_model(),
    "facenet.pth": lambda: aux("open_pose.face").FaceNet(),
}
"""The networks of controlnet_aux by the names of their files."""

_WRAPPED = {"table5_pidinet.pth": "state_dict", "res101.pth": "depth_model", "scannet.pt": "model"}
"""Files whose authors keep the weights under a key."""
_PARALLEL = ("table5_pidinet.pth", "res101.pth", "scannet.pt", "netG.pth")
"""Those whose names begin as torch's DataParallel has them."""
_WITHOUT_STAGES = ("body_pose_model.pth", "hand_pose_model.pth")


def write(folder: Path, name: str, *, seed: int = 0) -> Path:
    """`folder`/`name`, in the form in which its authors publish it."""
    torch.manual_seed(seed)
    weights: dict[str, Any] = NETWORKS[name]().state_dict()
    if name in _WITHOUT_STAGES:
        weights = {key.partition(".")[2]: value for key, value in weights.items()}
    if name in _PARALLEL:
        weights = {f"module.{key}": value for key, value in weights.items()}
    if name in _WRAPPED:
        weights = {_WRAPPED[name]: weights}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(weights, folder / name)
    return folder / name


def write_safetensors(folder: Path, name: str, *, seed: int = 0) -> Path:
    """The same weights as `write` makes, as safetensors beside its name."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    path = (folder / name).with_suffix(".safetensors")
    save_file({key: value.contiguous() for key, value in NETWORKS[name]().state_dict().items()}, path)
    return path


def write_depth_anything(folder: Path) -> None:
    """A small Depth Anything: a DINOv2 of two layers below a DPT."""
    torch.manual_seed(0)
    config = transformers.DepthAnythingConfig(
        backbone_config=transformers.Dinov2Config(
            hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=70, patch_size=14,
            out_indices=[1, 2, 3, 4], apply_layernorm=True, reshape_hidden_states=False,
        ),
        reassemble_hidden_size=16, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, head_hidden_size=8,
        patch_size=14,
    )  # fmt: skip
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)


def write_dpt(folder: Path) -> None:
    """A small DPT hybrid as MiDaS's: a ViT on a BiT."""
    torch.manual_seed(0)
    config = transformers.DPTConfig(
        is_hybrid=True, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32,
        image_size=64, patch_size=16, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 16, 8, 8],
        neck_ignore_stages=[0, 1], fusion_hidden_size=8, backbone_featmap_shape=[1, 32, 4, 4],
        backbone_config=transformers.BitConfig(
            embedding_size=8, hidden_sizes=[8, 16, 32], depths=[1, 1, 1], layer_type="bottleneck",
            global_padding="same", embedding_dynamic_padding=True, num_groups=1,
            out_features=["stage1", "stage2", "stage3"],
        ),
    )  # fmt: skip
    transformers.DPTForDepthEstimation(config).save_pretrained(folder)


def write_zoe(folder: Path) -> None:
    """A small ZoeDepth on a BEiT."""
    torch.manual_seed(0)
    config = transformers.ZoeDepthConfig(
        backbone_config=transformers.BeitConfig(
            hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=64,
            patch_size=16, out_indices=[1, 2, 3, 4], reshape_hidden_states=False,
            use_relative_position_bias=True,
        ),
        neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, bottleneck_features=8, num_relative_features=8,
        bin_embedding_dim=8,
    )  # fmt: skip
    transformers.ZoeDepthForDepthEstimation(config).save_pretrained(folder)


def write_upernet(folder: Path) -> None:
    """A small UperNet on a ConvNeXt, with ADE20K's number of classes."""
    torch.manual_seed(0)
    config = transformers.UperNetConfig(
        backbone_config=transformers.ConvNextConfig(
            hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1],
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        hidden_size=8, num_labels=150, use_auxiliary_head=False,
    )  # fmt: skip
    transformers.UperNetForSemanticSegmentation(config).save_pretrained(folder)


def write_oneformer(folder: Path, classes: int) -> None:
    """A small OneFormer on a Swin."""
    torch.manual_seed(0)
    config = transformers.OneFormerConfig(
        backbone_config=transformers.SwinConfig(
            image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4,
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        num_labels=classes, num_queries=5, hidden_dim=32, mask_dim=32, conv_dim=32, num_attention_heads=2,
        encoder_layers=1, encoder_feedforward_dim=16, decoder_layers=2, dim_feedforward=16,
        text_encoder_width=32, text_encoder_num_layers=1, text_encoder_vocab_size=64, is_training=False,
        task_seq_len=77,
    )  # fmt: skip
    transformers.OneFormerForUniversalSegmentation(config).save_pretrained(folder)
