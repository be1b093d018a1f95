"""Products in their order, and where they are stored."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from easel_contract.errors import ContractError
from easel_contract.options import RenderOptions
from easel_contract.savedir import SaveDir
from easel_gateway.sdapi.png_info import read_picture
from easel_store import LocalStore, StoreError
from easel_worker.outputs.numbering import Numbers
from easel_worker.outputs.rendering import Copy, Products, make_products
from easel_worker.outputs.saving import Saved, Saver, presign

from .jobs import picture, rendering

DAY = "2026-03-04"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


@pytest.fixture
def saver(store: LocalStore) -> Saver:
    return Saver(store, Numbers(store, LocalStore(store.root / "numbers")), ["/mnt/data"])


def products(count: int = 1, options: dict[str, Any] | None = None, **changes: Any) -> Products:
    made = RenderOptions.model_validate(options or {})
    return make_products(rendering(count, **changes), made, saving=True)


def roles(sequence: Sequence[Any]) -> list[tuple[str, int]]:
    return [(item.role, item.index) for item in sequence]


@pytest.mark.parametrize(
    ("count", "options", "answered", "stored"),
    [
        (1, {}, ["sample"], ["sample"]),
        (2, {}, ["grid", "sample", "sample"], ["grid", "sample", "sample"]),
        (1, {"grid_only_if_multiple": False}, ["grid", "sample"], ["grid", "sample"]),
        (2, {"return_grid": False}, ["sample", "sample"], ["grid", "sample", "sample"]),
        (2, {"grid_save": False}, ["grid", "sample", "sample"], ["sample", "sample"]),
        (2, {"grid_save": False, "return_grid": False}, ["sample", "sample"], ["sample", "sample"]),
        (2, {"samples_save": False}, ["grid", "sample", "sample"], ["grid"]),
    ],
)
def test_the_options_decide_what_is_answered_and_what_is_stored(
    saver: Saver, count: int, options: dict[str, Any], answered: list[str], stored: list[str]
) -> None:
    made = products(count, options)
    info: Any = made.info()

    assert [product.role for product in made.answered] == answered
    assert [place.product.role for place in saver.save_patterned(made)] == stored
    assert info["index_of_first_image"] == answered.count("grid")
    assert len(info["infotexts"]) == len(answered)


def test_a_grid_of_too_many_megapixels_is_not_made() -> None:
    job = replace(rendering(2), samples=[picture(width=1000, height=600)] * 2)
    for most, made in ((1, ["sample", "sample"]), (2, ["grid", "sample", "sample"])):
        options = RenderOptions(img_max_size_mp=most)
        assert [product.role for product in make_products(job, options, saving=True).all] == made


@pytest.mark.parametrize("form", ["png", "jpg", "jpeg", "webp", "avif", "gif"])
def test_png_info_of_each_answered_picture_is_its_infotext(form: str) -> None:
    made = products(3, {"samples_format": form, "grid_format": form}, negative_prompt="häßlich")
    info: Any = made.info()
    read = [read_picture(base64.b64encode(one.file.data).decode()).info for one in made.answered]
    assert read == info["infotexts"]
    assert len(set(read)) == 4, "a grid tells the job's prompts, each picture its own seed"


def test_extras_stand_behind_the_samples_without_an_infotext() -> None:
    made = make_products(
        replace(rendering(2), extras=[picture(90)], copies=[Copy(0, "mask", picture(91))]),
        RenderOptions(),
        saving=True,
    )
    assert roles(made.answered) == [("grid", 0), ("sample", 0), ("sample", 1), ("extra", 0)]
    info: Any = made.info()
    assert len(info["infotexts"]) == 3
    assert "parameters" not in Image.open(io.BytesIO(made.answered[-1].file.data)).info


def test_without_saving_there_is_no_grid_and_no_copy() -> None:
    job = replace(rendering(2), copies=[Copy(0, "mask", picture())])
    assert roles(make_products(job, RenderOptions(), saving=False).all) == [("sample", 0), ("sample", 1)]


def test_save_images_puts_files_where_a1111_does(saver: Saver, store: LocalStore) -> None:
    saver.save_patterned(products(2))
    saver.save_patterned(products(1))
    assert list(store.list("outputs/")) == [
        f"outputs/txt2img-grids/{DAY}/grid-0000.png",
        f"outputs/txt2img-images/{DAY}/00000-7.png",
        f"outputs/txt2img-images/{DAY}/00001-8.png",
        f"outputs/txt2img-images/{DAY}/00002-7.png",
    ]
    assert store.get("params.txt").decode().startswith("a (red:1.2) cat\nNegative prompt: ugly\nSteps: 20, ")


def test_img2img_and_other_folders_formats_and_companions(saver: Saver, store: LocalStore) -> None:
    options = {
        "samples_format": "jpg",
        "grid_format": "webp",
        "save_txt": True,
        "outdir_samples": "/mnt/data/mine",
        "outdir_img2img_grids": "tmp/grids",
        "save_to_dirs": False,
        "samples_filename_pattern": "[seed]",
        "enable_pnginfo": False,
    }
    saver.save_patterned(products(2, options, kind="img2img"))
    assert list(store.list("")) == [
        "mine/00000-7.jpg",
        "mine/00000-7.txt",
        "mine/00001-8.jpg",
        "mine/00001-8.txt",
        f"tmp/grids/{DAY}/grid-0000.txt",
        f"tmp/grids/{DAY}/grid-0000.webp",
    ]
    assert store.get("mine/00001-8.txt").decode().splitlines()[-1].startswith("Steps: 20, ")
    assert b"\nSteps: 20, " in store.get("mine/00000-7.txt")


def test_what_was_cut_short_is_stored_only_where_an_option_says_so(saver: Saver, store: LocalStore) -> None:
    half_done = replace(rendering(2), unfinished=frozenset({1}))
    for options, seeds in ((RenderOptions(), [7]), (RenderOptions(save_incomplete_images=True), [7, 8])):
        products = make_products(half_done, options, saving=True)
        saved = saver.save_patterned(products)
        samples = [place.product.index for place in saved if place.product.role == "sample"]
        assert [products.rendering.facts[index].seed for index in samples] == seeds
        assert len(products.answered) == 3, "the answer has all of them, and the grid"


def test_the_same_holds_below_a_save_dir(saver: Saver, store: LocalStore) -> None:
    half_done = replace(
        rendering(2),
        unfinished=frozenset({1}),
        copies=[Copy(0, "mask", picture()), Copy(1, "mask", picture())],
    )
    for options, stored in (
        (RenderOptions(), ["7"]),
        (RenderOptions(save_incomplete_images=True), ["7", "8"]),
    ):
        folder = SaveDir(f"to{len(stored)}", f"/mnt/data/to{len(stored)}")
        saved = saver.save_cloud(make_products(half_done, options, saving=True), folder)
        samples = [Path(place.key).stem for place in saved if place.product.role == "sample"]
        assert [name.rpartition("-")[2] for name in samples] == stored
        on_disk = {Path(key).stem for key in store.list(f"{folder.key_prefix}/txt2img-images/")}
        assert on_disk == {*samples, *(f"{name}-mask" for name in samples)}


def test_copies_share_their_samples_number(saver: Saver, store: LocalStore) -> None:
    job = replace(
        rendering(2),
        copies=[Copy(1, "before-highres-fix", picture()), Copy(1, "mask", picture()[..., 0])],
    )
    saver.save_patterned(make_products(job, RenderOptions(grid_save=False), saving=True))
    assert [Path(key).name for key in store.list("outputs/")] == [
        "00000-7.png",
        "00001-8-before-highres-fix.png",
        "00001-8-mask.png",
        "00001-8.png",
    ]


def test_a_large_picture_is_stored_small_too(saver: Saver, store: LocalStore) -> None:
    job = replace(rendering(1), samples=[picture(width=128, height=64)])
    options = RenderOptions.model_validate({"target_side_length": 64})
    saver.save_patterned(make_products(job, options, saving=True))
    assert [Path(key).name for key in store.list("outputs/")] == ["00000-7.jpg", "00000-7.png"]
    assert Image.open(store.path(f"outputs/txt2img-images/{DAY}/00000-7.jpg")).size == (64, 32)


def test_without_a_number_the_name_is_the_pattern(saver: Saver, store: LocalStore) -> None:
    saver.save_patterned(products(2, {"save_images_add_number": False, "grid_save": False}))
    assert [Path(key).name for key in store.list("outputs/")] == ["7.png", "8.png"]


def test_save_dir_uses_the_clouds_names_grid_first(saver: Saver, store: LocalStore) -> None:
    job = replace(rendering(2), extras=[picture(1), picture(2)], copies=[Copy(0, "mask", picture())])
    made = make_products(job, RenderOptions(save_txt=True), saving=True)
    saved = saver.save_cloud(made, SaveDir("here", "/mnt/data/here"))

    patterns = [
        rf"/txt2img-grids/{DAY}/grid-050607-{UUID}\.png",
        rf"/txt2img-images/{DAY}/050607-{UUID}-7\.png",
        rf"/txt2img-images/{DAY}/050607-{UUID}-8\.png",
        rf"/controlnet_mask/{DAY}/00000\.png",
        rf"/controlnet_mask/{DAY}/00001\.png",
    ]
    for place, pattern in zip(saved, patterns, strict=True):
        assert re.fullmatch("/mnt/data/here" + pattern, place.shown)
        assert re.fullmatch("here" + pattern, place.key)
        assert store.get(place.key) == place.product.file.data
    stem = saved[1].key.removesuffix(".png")
    assert store.exists(f"{stem}-mask.png")
    assert store.get(f"{stem}.txt").decode() == saved[1].product.file.infotext + "\n"
    assert not store.exists("params.txt")


@pytest.mark.parametrize("folder", ["../up", "/etc", "run", "claims/x", "x" * 500 + "/" + "y" * 100])
def test_a_folder_outside_is_refused_before_the_work(saver: Saver, folder: str) -> None:
    for name in ("outdir_samples", "outdir_txt2img_grids"):
        with pytest.raises(ContractError) as caught:
            saver.check(RenderOptions.model_validate({name: folder}), "txt2img")
        assert caught.value.status == 422


def test_the_default_folders_are_fine(saver: Saver) -> None:
    for kind in ("txt2img", "img2img"):
        saver.check(RenderOptions(), kind)


class Signing(LocalStore):
    """A directory that pretends to have addresses."""

    def presigned_url(self, key: str, expires_s: int) -> str:
        if not key:
            raise StoreError("no")
        return f"https://x/{key}?{expires_s}"


def test_presigned_addresses_only_where_there_are_some(store: LocalStore, tmp_path: Path) -> None:
    product = products(1).all[0]
    saved = [Saved(product, "a.png", "/a.png")]
    assert presign(store, saved, 60) is None
    assert presign(Signing(tmp_path), saved, 60) == ["https://x/a.png?60"]
