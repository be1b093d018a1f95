"""What an encoder saw, as a text and back."""

from __future__ import annotations

import base64
import io

import pytest
import torch

from easel_contract.errors import ContractError
from easel_worker.annotators.embeddings import from_text, to_text
from easel_worker.diffusion.attention.clip_vision import ClipView

VIEW = ClipView(torch.randn(1, 8), torch.randn(1, 5, 6), torch.randn(1, 5, 6))


def text_of(value: object) -> str:
    file = io.BytesIO()
    torch.save(value, file)
    return base64.b64encode(file.getvalue()).decode()


def test_a_view_comes_back_bit_for_bit() -> None:
    view = from_text(to_text(VIEW), field="x")
    assert isinstance(view, ClipView)
    for name in ("projected", "hidden", "blank"):
        assert torch.equal(getattr(view, name), getattr(VIEW, name))


@pytest.mark.parametrize("shape", [(512,), (1, 512), (1, 1, 512), (3, 512)])
def test_a_bare_tensor_is_of_faces(shape: tuple[int, ...]) -> None:
    faces = torch.randn(shape).half()
    read = from_text(text_of(faces), field="x")
    assert isinstance(read, torch.Tensor)
    assert torch.equal(read, faces.float().reshape(-1, 512))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no base64 at all!",
        base64.b64encode(b"no file").decode(),
        text_of({"projected": VIEW.projected}),
        text_of([VIEW.projected]),
        text_of({"projected": VIEW.projected, "hidden": VIEW.hidden, "blank": VIEW.blank[:, :3]}),
        text_of({"projected": VIEW.projected, "hidden": VIEW.hidden[0], "blank": VIEW.blank}),
        text_of({"projected": "text", "hidden": VIEW.hidden, "blank": VIEW.blank}),
        text_of(torch.tensor(1.0)),
        text_of(torch.zeros(0, 512)),
        text_of(torch.arange(512)),
        text_of(torch.full((1, 512), torch.nan)),
        text_of(torch.zeros(1).expand(1 << 20, 512)),
        text_of(torch.eye(4).to_sparse()),
    ],
)
def test_anything_else_is_refused_with_the_field(text: str) -> None:
    with pytest.raises(ContractError) as refused:
        from_text(text, field="alwayson_scripts.controlnet.args[0].ipadapter_input.0")
    assert refused.value.status == 422
    assert str(refused.value).startswith("alwayson_scripts.controlnet.args[0].ipadapter_input.0: ")
