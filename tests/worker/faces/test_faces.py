"""Finding, aligning and restoring faces, with small random networks in the usual files' key format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from easel_contract.errors import ContractError
from easel_worker.faces.align import BORDER, SIDE, TEMPLATE, crop_face, paste_face, similarity
from easel_worker.faces.restorers import FaceRestorers
from easel_worker.faces.retinaface import RetinaFace, anchors_of, find_faces, load_detector, select
from easel_worker.upscaling.architectures import library
from easel_worker.upscaling.errors import WeightsError

from ..intake.pictures import gradient
from ..upscaling.networks import save_rrdb

CPU = torch.device("cpu")


def save_detector(path: Path, *, seen: bool = True) -> None:
    """A detector of an eighth of the usual width. With `seen` it finds a face at every 256-pixel anchor."""
    torch.manual_seed(2)
    network = RetinaFace(width=8, channels=32)
    for heads in (network.ClassHead, network.BboxHead, network.LandmarkHead):
        for head in heads:
            torch.nn.init.zeros_(head.conv1x1.weight)
            torch.nn.init.zeros_(head.conv1x1.bias)
    if seen:
        with torch.no_grad():
            network.ClassHead[2].conv1x1.bias[1] = 8.0  # class 1 (a face) of the first anchor, 256 x 256
            places = (
                (TEMPLATE - SIDE / 2) / SIDE * 10
            )  # in the template's proportions, in tenths of the anchor
            network.LandmarkHead[2].conv1x1.bias[:10] = torch.tensor(places.ravel(), dtype=torch.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({f"module.{name}": value.contiguous() for name, value in network.state_dict().items()}, path)


def test_similarity_finds_turn_scale_and_shift() -> None:
    angle, scale, shift = 0.4, 1.7, np.array([30.0, -12.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.random.default_rng(1).random((5, 2)) * 100
    matrix = similarity(points, points @ turn.T + shift)
    assert np.allclose(matrix, np.concatenate([turn, shift[:, None]], axis=1))
    mirrored = similarity(points, points * [-1, 1])
    assert np.linalg.det(mirrored[:, :2]) > 0  # a face is never mirrored


def test_a_face_that_is_not_changed_leaves_the_picture_as_it_was() -> None:
    picture = gradient(300, 280)
    matrix = similarity(TEMPLATE / 4 + [80, 60])
    assert np.allclose(matrix[:, :2], np.eye(2) * 4)
    crop = crop_face(picture, matrix)
    assert crop.size == (SIDE, SIDE)
    back = paste_face(picture, crop, matrix)
    assert np.abs(np.asarray(back).astype(int) - np.asarray(picture)).max() <= 2


def test_a_changed_face_changes_only_its_place() -> None:
    picture = Image.new("RGB", (300, 280), "blue")
    matrix = similarity(TEMPLATE / 4 + [80, 60])
    pasted = np.asarray(paste_face(picture, Image.new("RGB", (SIDE, SIDE), "red"), matrix)).astype(int)
    assert (pasted[60 + 32 : 60 + 96, 80 + 32 : 80 + 96] == [255, 0, 0]).all()
    pasted[60 : 60 + 128, 80 : 80 + 128] = [0, 0, 255]
    assert (pasted == [0, 0, 255]).all()
    assert BORDER / 4 > 3  # the edge fades over several of the picture's pixels


def test_anchors_are_in_the_networks_order() -> None:
    anchors = anchors_of(33, 64)
    assert len(anchors) == (5 * 8 + 3 * 4 + 2 * 2) * 2
    assert anchors[0].tolist() == [4, 4, 16, 16]
    assert anchors[1].tolist() == [4, 4, 32, 32]
    assert anchors[2].tolist() == [12, 4, 16, 16]
    assert anchors[-1].tolist() == [48, 48, 512, 512]


def test_offsets_are_decoded_and_the_best_of_a_heap_is_kept() -> None:
    count = len(anchors_of(64, 64))
    boxes, scores, landmarks = np.zeros((count, 4)), np.zeros(count), np.zeros((count, 10))
    scores[[0, 2, 40]] = 0.98, 0.99, 0.985
    boxes[0] = [5, 0, 0, 0]  # half an anchor to the right: onto the one of index 2
    boxes[40] = [0, 0, np.log(2) / 0.2, 0]
    landmarks[2, :2] = [10, -10]
    faces = select(boxes, scores, landmarks, (64, 64), scale=2.0)
    assert [round(face.score, 3) for face in faces] == [0.99, 0.985]
    assert faces[0].box.tolist() == [8, -8, 40, 24]
    assert faces[0].landmarks[0].tolist() == [56, -24]
    assert np.allclose(faces[1].box[2] - faces[1].box[0], 64)


def test_a_detector_file_is_loaded_and_finds(tmp_path: Path) -> None:
    save_detector(tmp_path / "a.safetensors")
    network = load_detector(tmp_path / "a.safetensors", device=CPU, allow_pickle=False)
    (face,) = find_faces(network, gradient(96, 64))
    assert np.allclose(face.box[2:] - face.box[:2], 256)
    assert np.allclose(face.landmarks - face.box[:2], TEMPLATE / 2, atol=1e-3)
    large = find_faces(network, gradient(3200, 32))
    assert all(np.allclose(face.box[2:] - face.box[:2], 512) for face in large)  # searched at half the size
    save_detector(tmp_path / "b.safetensors", seen=False)
    blind = load_detector(tmp_path / "b.safetensors", device=CPU, allow_pickle=False)
    assert find_faces(blind, gradient(96, 64)) == []
    save_file({"a": torch.zeros(1)}, tmp_path / "c.safetensors")
    with pytest.raises(WeightsError, match=r"c\.safetensors is no RetinaFace"):
        load_detector(tmp_path / "c.safetensors", device=CPU, allow_pickle=False)


def test_the_usual_width_has_the_usual_files_keys() -> None:
    names = set(RetinaFace(width=64, channels=256).state_dict())
    for name in (
        "body.conv1.weight",
        "body.layer3.5.bn3.running_var",
        "body.layer4.0.downsample.1.bias",
        "fpn.output3.1.weight",
        "fpn.merge2.0.weight",
        "ssh2.conv7x7_3.1.bias",
        "ClassHead.2.conv1x1.bias",
        "LandmarkHead.0.conv1x1.weight",
    ):
        assert name in names
    assert not [name for name in names if name.startswith("body.fc")]


def test_missing_files_are_named(tmp_path: Path) -> None:
    restorers = FaceRestorers(tmp_path, lambda: CPU, allow_pickle=False)
    with pytest.raises(ContractError, match=r"restore_faces: 'GFPGAN' needs .*GFPGAN/GFPGANv1\.4\.pth"):
        restorers.check("GFPGAN", field="restore_faces")
    (tmp_path / "GFPGAN").mkdir()
    (tmp_path / "GFPGAN/GFPGANv1.3.pth").touch()
    with pytest.raises(ContractError, match=r"GFPGAN/detection_Resnet50_Final\.pth"):
        restorers.check("GFPGAN", field="restore_faces")
    (tmp_path / "GFPGAN/detection_Resnet50_Final.pth").touch()
    restorers.check("gfpgan", field="restore_faces")


def test_a_picture_without_a_face_is_left_alone(tmp_path: Path) -> None:
    save_detector(tmp_path / "Codeformer/detection_Resnet50_Final.safetensors", seen=False)
    restorers = FaceRestorers(tmp_path, lambda: CPU, allow_pickle=False)
    picture = gradient(64, 48)
    assert restorers.restore("GFPGAN", picture) is picture


def test_a_file_that_restores_nothing_is_named(tmp_path: Path) -> None:
    save_detector(tmp_path / "GFPGAN/detection_Resnet50_Final.safetensors")
    save_rrdb(tmp_path / "GFPGAN/4x_wrong.safetensors")
    restorers = FaceRestorers(tmp_path, lambda: CPU, allow_pickle=False)
    with pytest.raises(WeightsError, match=r"4x_wrong\.safetensors is a ESRGAN and restores no faces"):
        restorers.restore("GFPGAN", gradient(64, 48))


@pytest.mark.slow
def test_gfpgan_restores_a_face(tmp_path: Path) -> None:
    """GFPGAN has one size only: 340 MB of random weights."""
    save_detector(tmp_path / "GFPGAN/detection_Resnet50_Final.safetensors")
    library()
    from spandrel.architectures.GFPGAN import GFPGAN

    torch.manual_seed(0)
    weights = {name: value.contiguous() for name, value in GFPGAN().state_dict().items()}
    save_file(weights, tmp_path / "GFPGAN/GFPGANv1.4.safetensors")
    restorers = FaceRestorers(tmp_path, lambda: CPU, allow_pickle=False)
    picture = gradient(96, 64)  # one face: each takes seconds
    picture.putalpha(200)
    restored = restorers.restore("GFPGAN", picture)
    assert (restored.size, restored.mode) == (picture.size, "RGBA")
    changed = np.asarray(restored).astype(int) != np.asarray(picture)
    assert changed[..., :3].any()
    assert not changed[..., 3].any()
