"""Preprocessors with weights: the real loading code, with random weights under the real files' names."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch

from easel_contract.controlnet import MODULES
from easel_contract.errors import ContractError
from easel_worker.annotators import Annotators, Pixels
from easel_worker.annotators.networks import NETWORKS
from easel_worker.models.shelf import OneOfEach, Shelf

from . import random_files
from .pictures import disc

T = TypeVar("T")

SIZE = (64, 83)
"""Height and width of what is made of the picture at a resolution of 64: neither it nor its padding."""

QUICK = {
    "hed": "ControlNetHED.pth",
    "hed_safe": "ControlNetHED.pth",
    "scribble_hed": "ControlNetHED.pth",
    "pidinet": "table5_pidinet.pth",
    "pidinet_safe": "table5_pidinet.pth",
    "pidinet_scribble": "table5_pidinet.pth",
    "pidinet_sketch": "table5_pidinet.pth",
    "softedge_teed": "7_model.pth",
    "softedge_anyline": "MTEED.pth",
    "lineart": "sk_model.pth",
    "lineart_coarse": "sk_model2.pth",
    "mlsd": "mlsd_large_512_fp32.pth",
}
HEAVY = {
    "lineart_anime": ("netG.pth",),
    "depth_leres": ("res101.pth",),
    "normal_bae": ("scannet.pt",),
    "openpose": ("body_pose_model.pth",),
    "openpose_hand": ("body_pose_model.pth", "hand_pose_model.pth"),
    "openpose_full": ("body_pose_model.pth", "hand_pose_model.pth", "facenet.pth"),
}
"""Files of hundreds of megabytes."""
FOLDERS = {
    "depth": random_files.write_dpt,
    "normal_map": random_files.write_dpt,
    "depth_anything": random_files.write_depth_anything,
    "depth_anything_v2": random_files.write_depth_anything,
    "depth_zoe": random_files.write_zoe,
    "segmentation": random_files.write_upernet,
    "oneformer_ade20k": lambda folder: random_files.write_oneformer(folder, 150),
    "oneformer_coco": lambda folder: random_files.write_oneformer(folder, 133),
}
"""Folders of transformers."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``models/`` with the quick ones' files."""
    made: Path = tmp_path_factory.mktemp("models")
    for name in sorted(set(QUICK.values())):
        random_files.write(made / "annotators", name)
    return made


class Noted(OneOfEach):
    """Notes what it is asked for and what had to be loaded for it."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def get(self, kind: str, name: str, files: Sequence[Path], load: Callable[[], T]) -> T:
        def noted() -> T:
            self.loaded.append(name)
            return load()

        return super().get(kind, name, files, noted)


def annotators_of(models: Path, *, allow_pickle: bool = True, shelf: Shelf | None = None) -> Annotators:
    return Annotators(models, lambda: torch.device("cpu"), allow_pickle=allow_pickle, shelf=shelf)


def map_of(annotators: Annotators, module: str, picture: Pixels | None = None, **controls: float) -> Pixels:
    shown = disc(130, 100) if picture is None else picture
    made = annotators.run(module, shown, resolution=64, **controls).map
    assert made.dtype == np.uint8
    return made


def test_every_module_with_a_network_is_supported_and_the_other_way_round() -> None:
    supported = {module.name for module in MODULES.values() if module.weights and module.supported}
    pictures = {name for name in supported if not MODULES[name].tensor}
    assert pictures == set(NETWORKS)
    assert set(QUICK) | set(HEAVY) | set(FOLDERS) | {"openpose_face", "openpose_faceonly"} == set(NETWORKS)


@pytest.mark.parametrize("module", QUICK)
def test_it_loads_and_draws(models: Path, module: str) -> None:
    annotators = annotators_of(models)
    assert annotators.needs_torch(module)
    assert module in annotators.available()
    assert map_of(annotators, module).shape == (*SIZE, 3)


@pytest.mark.parametrize("module", FOLDERS)
def test_a_folder_of_transformers_loads_and_draws(tmp_path: Path, module: str) -> None:
    FOLDERS[module](tmp_path / "annotators" / MODULES[module].weights[0])
    assert map_of(annotators_of(tmp_path, allow_pickle=False), module).shape == (*SIZE, 3)


@pytest.fixture
def roomy_path() -> Iterator[Path]:
    """A folder that is gone after the test: pytest keeps the last three of its own."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.slow
@pytest.mark.parametrize("module", HEAVY)
def test_a_large_one_loads_and_draws(roomy_path: Path, module: str) -> None:
    for name in HEAVY[module]:
        random_files.write(roomy_path / "annotators", name)
    annotators = annotators_of(roomy_path)
    made = annotators.run(module, disc(130, 100), resolution=64)
    assert made.map.shape == (*SIZE, 3)
    if module.startswith("openpose"):
        assert made.poses is not None
        assert [(pose.canvas_width, pose.canvas_height) for pose in made.poses] == [SIZE[::-1]]
    else:
        assert made.poses is None


@pytest.mark.slow
def test_hands_and_faces_are_looked_for_where_the_body_says(roomy_path: Path) -> None:
    """Random weights see no people, so the body is given; hands and face are looked for in earnest."""
    from easel_worker.annotators.networks.library import aux
    from easel_worker.annotators.networks.openpose import OpenPose

    names = ("body_pose_model.pth", "hand_pose_model.pth", "facenet.pth")
    paths = tuple(random_files.write(roomy_path, name) for name in names)
    network = OpenPose(paths, torch.device("cpu"), allow_pickle=True)
    body = aux("open_pose.body")
    points = [None] * 18
    for number, (x, y) in {
        0: (60, 40), 2: (50, 50), 5: (70, 50), 6: (80, 80), 7: (80, 110), 14: (52, 35), 15: (68, 35),
    }.items():  # fmt: skip
        points[number] = body.Keypoint(x=float(x), y=float(y))
    picture = np.random.default_rng(0).integers(0, 256, (160, 120, 3), dtype=np.uint8)
    with torch.inference_mode():
        person = network._person(body.BodyResult(points, 8.0, 7), picture)
    assert person.pose_keypoints_2d[:6] == [60.0, 40.0, 1.0, 0.0, 0.0, 0.0]
    assert person.hand_left_keypoints_2d is not None
    assert len(person.hand_left_keypoints_2d) == 3 * 21
    assert person.hand_right_keypoints_2d is None, "there is no right arm"
    face = person.face_keypoints_2d
    assert face is None or len(face) == 3 * 70


def test_one_network_is_kept_and_shared_by_modules_with_its_file(models: Path) -> None:
    shelf = Noted()
    annotators = annotators_of(models, shelf=shelf)
    map_of(annotators, "hed")
    map_of(annotators, "scribble_hed")
    assert shelf.loaded == ["ControlNetHED"]
    map_of(annotators, "pidinet")
    assert len(shelf.loaded) == 2
    annotators.unload()
    map_of(annotators, "pidinet")
    assert len(shelf.loaded) == 3


def test_options_and_sliders_reach_the_network(models: Path) -> None:
    annotators = annotators_of(models)
    assert len(np.unique(map_of(annotators, "hed_safe"))) <= 3
    assert set(np.unique(map_of(annotators, "scribble_hed"))) <= {0, 255}
    noise = np.random.default_rng(0).integers(0, 256, (100, 130, 3), dtype=np.uint8)
    smooth, stepped = (map_of(annotators, "hed", noise), map_of(annotators, "hed_safe", noise))
    assert len(np.unique(smooth)) > len(np.unique(stepped))
    few, many = (map_of(annotators, "mlsd", noise, threshold_a=a) for a in (1.5, 0.01))
    assert few.max() == 0, "no score is above 1"
    assert many.max() == 255


def test_safetensors_stand_in_and_make_the_same_map(models: Path, tmp_path: Path) -> None:
    random_files.write_safetensors(tmp_path / "annotators", "ControlNetHED.pth")
    there = map_of(annotators_of(tmp_path, allow_pickle=False), "hed")
    np.testing.assert_array_equal(there, map_of(annotators_of(models), "hed"))


def test_a_file_that_changes_is_loaded_again(tmp_path: Path) -> None:
    shelf = Noted()
    annotators = annotators_of(tmp_path, shelf=shelf)
    path = random_files.write(tmp_path / "annotators", "7_model.pth")
    before = map_of(annotators, "softedge_teed")
    np.testing.assert_array_equal(map_of(annotators, "softedge_teed"), before)
    assert shelf.loaded == ["7_model"]
    stamp = path.stat().st_mtime_ns + 10**9
    random_files.write(tmp_path / "annotators", "7_model.pth", seed=1)
    os.utime(path, ns=(stamp, stamp))
    assert not np.array_equal(map_of(annotators, "softedge_teed"), before)
    assert shelf.loaded == ["7_model", "7_model"]


def test_a_missing_file_is_named_with_its_place(tmp_path: Path) -> None:
    annotators = annotators_of(tmp_path)
    assert "hed" not in annotators.available()
    for call in (annotators.check, lambda name, field: annotators.run(name, disc(), field=field)):
        with pytest.raises(ContractError, match=r"ControlNetHED\.pth") as refused:
            call("hed", field="alwayson_scripts.controlnet.args[0].module")
        assert refused.value.status == 422
        assert (tmp_path / "annotators/ControlNetHED.pth").as_posix() in str(refused.value)
        assert str(refused.value).startswith("alwayson_scripts.controlnet.args[0].module:")


def test_a_pickle_is_refused_where_those_are_not_allowed(models: Path) -> None:
    annotators = annotators_of(models, allow_pickle=False)
    assert "hed" not in annotators.available()
    with pytest.raises(ContractError, match="EASEL_ALLOW_PICKLE"):
        annotators.check("hed", field="module")


def test_what_nothing_here_can_run_is_refused(tmp_path: Path) -> None:
    annotators = annotators_of(tmp_path)
    for module in ("normal_dsine", "mediapipe_face", "dw_openpose_full"):
        assert module not in annotators.available()
        with pytest.raises(ContractError, match=f"{module}.*: ."):
            annotators.check(module, field="module")
    with pytest.raises(ContractError, match="timm"):
        annotators.run("mobile_sam", disc())
    with pytest.raises(ContractError, match="adapter"):
        annotators.check("ip-adapter-auto", field="module")


@pytest.mark.parametrize("content", [b"", b"no pickle at all", b"PK\x03\x04broken"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "annotators/7_model.pth"
    path.parent.mkdir()
    path.write_bytes(content)
    field = "alwayson_scripts.controlnet.args[1].module"
    with pytest.raises(ContractError, match=r"7_model\.pth") as refused:
        annotators_of(tmp_path).run("softedge_teed", disc(), field=field)
    assert (refused.value.field, refused.value.status) == (field, 422)


def test_the_weights_of_something_else_are_told_from_broken_ones(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "annotators"
    folder.mkdir()
    (folder / "7_model.pth").write_bytes((models / "annotators/table5_pidinet.pth").read_bytes())
    with pytest.raises(ContractError, match=r"7_model\.pth is not the file of this preprocessor"):
        map_of(annotators_of(tmp_path), "softedge_teed")
    torch.save([1, 2, 3], folder / "7_model.pth")
    with pytest.raises(ContractError, match="no named weights"):
        map_of(annotators_of(tmp_path), "softedge_teed")


def test_a_folder_of_something_else_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "annotators" / MODULES["depth_anything"].weights[0]
    random_files.write_upernet(folder)
    with pytest.raises(ContractError, match=folder.name):
        map_of(annotators_of(tmp_path, allow_pickle=False), "depth_anything")
    random_files.write_oneformer(tmp_path / "annotators" / MODULES["oneformer_coco"].weights[0], 150)
    with pytest.raises(ContractError, match="150 classes"):
        map_of(annotators_of(tmp_path, allow_pickle=False), "oneformer_coco")


def test_a_pickle_that_would_run_something_does_not(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    folder = tmp_path / "annotators"
    folder.mkdir()
    torch.save({"weights": Harmful()}, folder / "ControlNetHED.pth")
    with pytest.raises(ContractError, match=r"ControlNetHED\.pth"):
        map_of(annotators_of(tmp_path), "hed")
    assert not (tmp_path / "ran").exists()
