"""Puts a task's pictures into the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from easel_contract.errors import ContractError
from easel_contract.options import RenderOptions
from easel_contract.savedir import SaveDir, resolve_save_dir
from easel_store import Store, StoreError, check_key
from easel_worker.outputs.encoding import small_copy
from easel_worker.outputs.names import CloudNames, PatternName, grid_name, sample_name
from easel_worker.outputs.numbering import Numbers
from easel_worker.outputs.rendering import Product, Products
from easel_worker.outputs.sanitising import MAX_PATTERN_BYTES
from easel_worker.outputs.tokens import Subject

_LONGEST_NAME = "/".join(["d" * MAX_PATTERN_BYTES, "n" * 250])

LAST_INFOTEXT = "params.txt"
"""Key of the newest infotext, in A1111's place."""


@dataclass(frozen=True)
class Saved:
    """Where a picture went: its key in the store, and the path that the client is told."""

    product: Product
    key: str
    shown: str


class Saver:
    """Stores products, under the cloud's names or under A1111's.

    Args:
        numbers: Of the same store. One for a worker's whole life: it remembers where its folders stand.
        mounts: What absolute folders may begin with, see `easel_contract.savedir`.
    """

    def __init__(self, store: Store, numbers: Numbers, mounts: Sequence[str]) -> None:
        self._store = store
        self._numbers = numbers
        self._mounts = tuple(mounts)

    def check(self, options: RenderOptions, kind: str) -> None:
        """Find out before the work whether `save_patterned` can keep its promise.

        Raises:
            ContractError: an output folder of the options leads out of the store, or into Easel's own.
        """
        for purpose in ("samples", "grids"):
            option = _folder_option(options, kind, purpose)
            root = self._folder(options, option)
            try:
                check_key(root.key(_LONGEST_NAME))
            except StoreError as error:
                raise ContractError(str(error), field=_field(option)) from None

    def save_cloud(self, products: Products, folder: SaveDir) -> list[Saved]:
        """Store everything below `folder` for a request with `save_dir`; extras lie among its control maps.

        Returns:
            The grid first, the samples as far as they are stored, the extras; no copies.

        Raises:
            StoreError: says what to do. Pictures stored so far stay; nobody was told their names.
        """
        record = products.rendering.record
        names = CloudNames(record.kind, record.when)
        saved: list[Saved] = []
        stems: dict[int, str] = {}
        for product in products.all:
            if product.role in ("extra", "map"):
                saved.append(self._put_map(product, folder, names.masks()))
                continue
            if product.role == "copy":
                if product.index in stems:
                    self._put(product, folder, f"{stems[product.index]}-{product.suffix}")
                continue
            if product.role == "sample" and not products.stores(product.index):
                continue
            if product.role == "grid":
                stem = names.grid()
            else:
                stem = names.image(products.rendering.facts[product.index].seed)
                stems[product.index] = stem
            saved.append(self._put(product, folder, stem))
            self._put_beside(product, folder, stem, products)
        return saved

    def save_patterned(self, products: Products) -> list[Saved]:
        """Store samples, grid and copies for `save_images`, where A1111 puts them; the options say what.

        Returns:
            The grid first and the samples, as far as they are stored.

        Raises:
            StoreError: as `save_cloud`.
            ContractError: an output folder of the options leads out of the store.
        """
        options, record = products.options, products.rendering.record
        samples = self._folder(options, _folder_option(options, record.kind, "samples"))
        saved: list[Saved] = []
        for product in products.all:
            if product.role == "grid" and options.grid_save:
                grids = self._folder(options, _folder_option(options, record.kind, "grids"))
                saved.append(
                    self._put_named(product, grids, grid_name(_subject(products, product)), products)
                )
            elif product.role == "sample" and options.samples_save:
                if not products.stores(product.index):
                    continue
                name = sample_name(_subject(products, product))
                saved.append(self._put_named(product, samples, name, products))
            elif product.role == "map" and options.control_net_detectmap_autosaving:
                self._put_map(product, samples, CloudNames(record.kind, record.when).masks())
        if options.enable_pnginfo and saved:
            text = saved[-1].product.file.infotext
            self._store.put(LAST_INFOTEXT, text.encode("utf-8", "replace"), "text/plain; charset=utf-8")
        return saved

    def _folder(self, options: RenderOptions, option: str) -> SaveDir:
        return resolve_save_dir(str(getattr(options, option)), self._mounts, field=_field(option))

    def _put_map(self, product: Product, root: SaveDir, folder: str) -> Saved:
        with self._numbers.take(root.key(folder)) as number:
            return self._put(product, root, f"{folder}/{number:05}")

    def _put_named(self, product: Product, root: SaveDir, name: PatternName, products: Products) -> Saved:
        folder = f"{name.folder}/" if name.folder else ""
        if not name.numbered:
            return self._put_with_company(product, root, folder + name.stem(None), products)
        place = root.key(name.folder) if name.folder else root.key_prefix
        with self._numbers.take(place, name.prefix, digits=name.digits) as number:
            return self._put_with_company(product, root, folder + name.stem(number), products)

    def _put_with_company(self, product: Product, root: SaveDir, stem: str, products: Products) -> Saved:
        saved = self._put(product, root, stem)
        self._put_beside(product, root, stem, products)
        for copy in products.all:
            if copy.role == "copy" and product.role == "sample" and copy.index == product.index:
                self._put(copy, root, f"{stem}-{copy.suffix}")
        return saved

    def _put(self, product: Product, root: SaveDir, stem: str) -> Saved:
        name = f"{stem}.{product.file.suffix}"
        self._store.put(root.key(name), product.file.data, product.file.content_type)
        return Saved(product, root.key(name), root.shown(name))

    def _put_beside(self, product: Product, root: SaveDir, stem: str, products: Products) -> None:
        """The text file and the small copy, where they are wanted."""
        if products.options.save_txt and product.file.infotext:
            text = f"{product.file.infotext}\n".encode("utf-8", "replace")
            self._store.put(root.key(f"{stem}.txt"), text, "text/plain; charset=utf-8")
        small = small_copy(product.image, product.file, products.options)
        if small is not None:
            self._store.put(root.key(f"{stem}.jpg"), small.data, small.content_type)


def presign(store: Store, saved: Sequence[Saved], expires_s: int) -> list[str] | None:
    """Addresses that anybody may read for `expires_s` seconds; None where the store has none: a directory."""
    try:
        return [store.presigned_url(place.key, expires_s) for place in saved]
    except StoreError:
        return None


def _folder_option(options: RenderOptions, kind: str, purpose: str) -> str:
    """The option that says where the ``samples`` or ``grids`` of a kind go: one for all kinds, where it is
    set."""
    common = f"outdir_{purpose}"
    return common if getattr(options, common) else f"outdir_{kind}_{purpose}"


def _field(option: str) -> str:
    return f"override_settings.{option}"


def _subject(products: Products, product: Product) -> Subject:
    rendering = products.rendering
    return Subject(
        record=rendering.record_of(product.index) if product.role == "sample" else rendering.record,
        facts=rendering.facts[product.index],
        seeds=tuple(one.seed for one in rendering.facts),
        index=product.index,
        image=product.image,
        options=products.options,
    )
