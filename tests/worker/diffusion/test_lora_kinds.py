"""Each kind's difference, against the formula of its paper written out entry by entry."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from easel_worker.diffusion.lora.changes import Scaling, UnknownKindError, read_change
from easel_worker.diffusion.lora.kinds import Delta

from ...small_models.lora import KINDS, MORE_KINDS, lora_tensors

Array = NDArray[np.float64]
ALPHA, RANK = 2.0, 4
SCALE = ALPHA / RANK
SHAPES = {"linear": (6, 10), "1 x 1": (6, 10, 1, 1), "3 x 3": (6, 10, 3, 3)}


def tensors(kind: str, shape: tuple[int, ...], **more: object) -> dict[str, torch.Tensor]:
    made = lora_tensors({"m": shape}, kind, rank=RANK, alpha=ALPHA, **more)  # type: ignore[arg-type]
    names = {f"lora_{part}.weight": part for part in ("down", "up", "mid")}
    names |= {f"{part}.weight": part for part in ("a1", "a2", "b1", "b2")}
    return {names.get(key.removeprefix("m."), key.removeprefix("m.")): value for key, value in made.items()}


def delta_of(parts: dict[str, torch.Tensor]) -> Delta:
    weight = read_change(parts).weight
    assert weight is not None
    return weight


def array(tensor: torch.Tensor) -> Array:
    return tensor.double().numpy()


def lora(p: dict[str, Array], base: Array) -> Array:
    """Hu et al. 2021: W = W0 + alpha / r * B A."""
    made = np.zeros_like(base)
    for o, r in np.ndindex(base.shape[0], RANK):
        made[o] += SCALE * p["up"][o, r].item() * p["down"][r].reshape(base.shape[1:])
    return made


def tucker(p: dict[str, Array], base: Array) -> Array:
    """Yeh et al. 2024, section 3: a core of the kernel's size between two matrices."""
    made = np.zeros_like(base)
    kernel = base.shape[2:]
    for o, i in np.ndindex(base.shape[:2]):
        for p_, q in itertools.product(range(RANK), repeat=2):
            core = p["mid"][p_, q].reshape(kernel)
            made[o, i] += SCALE * p["up"][o, p_].item() * core * p["down"][q, i].item()
    return made


def loha(p: dict[str, Array], base: Array) -> Array:
    """Hyeon-Woo et al. 2022, proposition 1: (X1 Y1) * (X2 Y2)."""
    one, two = (p[f"hada_w{i}_a"] @ p[f"hada_w{i}_b"] for i in (1, 2))
    return SCALE * (one * two).reshape(base.shape)


def loha_tucker(p: dict[str, Array], base: Array) -> Array:
    """The same, proposition 3: each factor a tensor with a core."""
    made = np.full(base.shape, SCALE)
    for i in (1, 2):
        factor = np.zeros_like(base)
        a, b, core = p[f"hada_w{i}_a"], p[f"hada_w{i}_b"], p[f"hada_t{i}"]
        for o, n in np.ndindex(base.shape[:2]):
            for r, s in itertools.product(range(RANK), repeat=2):
                factor[o, n] += a[r, o] * b[s, n] * core[r, s].reshape(base.shape[2:])
        made *= factor
    return made


def kronecker(w1: Array, w2: Array, base: Array) -> Array:
    """Yeh et al. 2024, section 4: block (i, j) of the weight is w1[i, j] times w2."""
    rows, columns = w2.shape[:2]
    made = np.zeros_like(base)
    for i, j in np.ndindex(w1.shape):
        made[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns] = w1[i, j] * w2
    return made


def lokr(p: dict[str, Array], base: Array) -> Array:
    w1 = p["lokr_w1_a"] @ p["lokr_w1_b"]
    w2 = (p["lokr_w2_a"] @ p["lokr_w2_b"]).reshape(base.shape[0] // 2, base.shape[1] // 2, *base.shape[2:])
    return SCALE * kronecker(w1, w2, base)


def lokr_full(p: dict[str, Array], base: Array) -> Array:
    """Whole factors have no rank: alpha does not count."""
    return kronecker(p["lokr_w1"], p["lokr_w2"], base)


def lokr_tucker(p: dict[str, Array], base: Array) -> Array:
    w2 = np.zeros((base.shape[0] // 2, base.shape[1] // 2, *base.shape[2:]))
    for o, i in np.ndindex(w2.shape[:2]):
        for r, s in itertools.product(range(RANK), repeat=2):
            core = p["lokr_t2"][r, s].reshape(base.shape[2:])
            w2[o, i] += p["lokr_w2_a"][r, o] * p["lokr_w2_b"][s, i] * core
    return SCALE * kronecker(p["lokr_w1"], w2, base)


def full(p: dict[str, Array], base: Array) -> Array:
    return p["diff"]


def dora(p: dict[str, Array], base: Array) -> Array:
    """Liu et al. 2024, equation 5, with a magnitude per input: m * V / |V|."""
    merged = base + lora(p, base)
    made = np.zeros_like(base)
    for i in range(base.shape[1]):
        made[:, i] = p["dora_scale"].ravel()[i] * merged[:, i] / np.sqrt((merged[:, i] ** 2).sum())
    return made - base


def dora_out(p: dict[str, Array], base: Array) -> Array:
    """The same with a magnitude per output."""
    merged = base + lora(p, base)
    made = np.zeros_like(base)
    for o in range(base.shape[0]):
        made[o] = p["dora_scale"].ravel()[o] * merged[o] / np.sqrt((merged[o] ** 2).sum())
    return made - base


def ia3(p: dict[str, Array], base: Array) -> Array:
    """Liu et al. 2022: activations are scaled; here those that come in, which are more."""
    return base * p["weight"].reshape(1, -1, *(1,) * (base.ndim - 2))


def glora(p: dict[str, Array], base: Array) -> Array:
    """Chavan et al. 2023, equation 10 without its biases: W0 A + B."""
    flat = base.reshape(base.shape[0], -1)
    return SCALE * (flat @ p["a2"] @ p["a1"] + p["b2"] @ p["b1"]).reshape(base.shape)


def oft(p: dict[str, Array], base: Array) -> Array:
    """Qiu et al. 2023, section 3.3: blocks R = (I + Q)(I - Q)^-1 with Q antisymmetric."""
    blocks = p["oft_blocks"]
    count, width, _ = blocks.shape
    made = np.zeros_like(base)
    for block in range(count):
        skew = blocks[block] - blocks[block].T
        rotation = (np.eye(width) + skew) @ np.linalg.inv(np.eye(width) - skew)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(width), atol=1e-6)
        rows = slice(block * width, (block + 1) * width)
        made[rows] = np.tensordot(rotation.T, base[rows], axes=1)
    return made - base


FORMULAS: dict[str, Callable[[dict[str, Array], Array], Array]] = {
    "lora": lora,
    "tucker": tucker,
    "loha": loha,
    "loha-tucker": loha_tucker,
    "lokr": lokr,
    "lokr-full": lokr_full,
    "lokr-tucker": lokr_tucker,
    "full": full,
    "dora": dora,
    "dora-out": dora_out,
    "ia3": ia3,
    "glora": glora,
    "oft": oft,
}
CASES = [
    (kind, name)
    for kind in FORMULAS
    for name in SHAPES
    # These two are for matrices alone.
    if name != "3 x 3" or kind != "glora"
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_the_difference_is_the_papers(kind: str, name: str) -> None:
    shape = SHAPES[name]
    parts = tensors(kind, shape)
    base = torch.randn(shape, generator=torch.Generator().manual_seed(9)) * 0.3
    delta = delta_of(parts)

    assert delta.fits(torch.Size(shape))
    found = delta.of(base.reshape(shape[0], -1)).reshape(shape)
    wanted = FORMULAS[kind]({name: array(part) for name, part in parts.items()}, array(base))

    assert np.abs(wanted).max() > 1e-3
    np.testing.assert_allclose(array(found), wanted, atol=2e-5)

    total = base.reshape(shape[0], -1).clone()
    delta.add_to(total, base.reshape(shape[0], -1), -0.5)
    np.testing.assert_allclose(array(total.reshape(shape)), array(base) - 0.5 * wanted, atol=2e-5)


def test_every_kind_that_is_made_has_a_formula() -> None:
    assert set(FORMULAS) == {*KINDS, *MORE_KINDS} - {"norm"}


@pytest.mark.parametrize("kind", [*KINDS, "ia3", "glora", "oft"])
def test_another_shape_does_not_fit(kind: str) -> None:
    delta = delta_of(tensors(kind, (6, 10)))
    for shape in ((6, 12), (8, 10), (10, 6), (12, 20)):
        assert not delta.fits(torch.Size(shape)) or (kind, shape) in {
            # These scale one side only, whatever the other's size.
            ("ia3", (8, 10)),
            ("oft", (6, 12)),
        }


def test_a_normalisations_difference_is_added() -> None:
    parts = tensors("norm", (8,))
    change = read_change(parts)
    layer = torch.nn.LayerNorm(8)
    assert change.kind == "norm"
    assert change.fits(layer)
    assert not change.fits(torch.nn.LayerNorm(6))
    assert change.bias is parts["b_norm"]
    torch.testing.assert_close(delta_of(parts).of(torch.ones(8, 1)).flatten(), parts["w_norm"])


def test_a_cut_rank_leaves_the_first_directions_and_the_scale() -> None:
    parts = tensors("lora", (6, 10))
    base = torch.zeros(6, 10)
    found = delta_of(parts).of(base, 2)
    torch.testing.assert_close(found, SCALE * parts["up"][:, :2] @ parts["down"][:2])
    torch.testing.assert_close(delta_of(parts).of(base, 99), delta_of(parts).of(base))


def test_without_alpha_the_scale_is_one_or_what_peft_says() -> None:
    parts = tensors("lora", (6, 10))
    del parts["alpha"]
    product = parts["up"] @ parts["down"]
    for scaling, factor in ((Scaling(), 1.0), (Scaling(8.0), 2.0), (Scaling(8.0, stabilised=True), 4.0)):
        weight = read_change(parts, scaling).weight
        assert weight is not None
        torch.testing.assert_close(weight.of(torch.zeros(6, 10)), factor * product)


def test_a_constraint_bounds_how_far_oft_turns() -> None:
    parts = tensors("oft", (8, 8))
    base = torch.eye(8)
    free = delta_of(parts).of(base).norm()
    held = delta_of({**parts, "alpha": torch.tensor(1e-4)}).of(base).norm()
    assert held < free / 10
    # |R - 1| is about twice |Q|, which is at most alpha times the outputs.
    assert held <= 2 * 1e-4 * 8 * 1.01


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"oft_diag": (2, 2)}, "LyCORIS 2"),
        ({"down": (4, 10)}, "no kind"),
        ({"down": (4, 10), "up": (6, 5)}, "odd shapes"),
        ({"hada_w1_a": (6, 4), "hada_w1_b": (4, 10)}, "no kind"),
        ({"lokr_w1": (2, 2), "lokr_w2_a": (3, 4)}, "odd shapes"),
        ({"oft_blocks": (2, 3, 4)}, "odd shapes"),
    ],
)
def test_what_is_no_kind_says_what_it_has(parts: dict[str, tuple[int, ...]], said: str) -> None:
    with pytest.raises(UnknownKindError, match=said):
        read_change({name: torch.zeros(shape) for name, shape in parts.items()})
