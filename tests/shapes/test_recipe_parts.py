"""The recipe's parts: the optimizer, the vocabulary, the whitening, and both forms of the exported model."""

from __future__ import annotations

import itertools
from pathlib import Path
from random import Random

import pytest
import torch

from easel_shapes.recipe import data, networks, reading, sitting, train_denoiser, train_vae, trainee
from easel_shapes.recipe.export import full_table, split_networks, write_model
from easel_shapes.recipe.muon import Muon, orthogonalise
from easel_shapes.recipe.resume import resume
from easel_shapes.recipe.scenes import group_scene
from easel_shapes.recipe.words import COLOURS, SHAPES
from easel_shapes.single_file import write_ldm_file
from easel_worker.diffusion.checkpoint import load_checkpoint
from easel_worker.diffusion.libraries import AutoencoderKL, UNet2DConditionModel, load_file

CPU = torch.device("cpu")


@pytest.mark.parametrize("shape", [(3, 20, 50), (2, 50, 20)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)).float())
    assert values.min() > 0.5
    assert values.max() < 1.4


def test_muon_descends_and_resumes() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    x, y = torch.randn(64, 8), torch.randn(64, 4)
    optimizer = Muon(module)

    def step() -> float:
        loss = torch.nn.functional.mse_loss(module(x), y)
        loss.backward()
        optimizer.step(1e-2)
        return float(loss.detach())

    losses = [step() for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    saved = torch.load(_saved(optimizer.state_dict()), weights_only=True)
    expected = [step(), step()]
    module.load_state_dict(state)
    optimizer = Muon(module)
    optimizer.load_state_dict(saved)
    assert [step(), step()] == pytest.approx(expected)


def _saved(state: dict[str, object]):  # type: ignore[no-untyped-def] # a file-like object
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer


def test_the_rate_warms_up_and_ends_small() -> None:
    assert sitting.rate(0.0, 0, peak=1.0) == pytest.approx(1 / 200)
    assert sitting.rate(0.3, 500, peak=1.0) == 1.0
    assert sitting.rate(1.0, 5000, peak=1.0) == pytest.approx(0.01)


def test_a_sitting_by_steps_ends_after_them() -> None:
    now = sitting.Sitting("x", sitting.Budget(steps=30))
    while now.part < 1:
        now.count(1.0 / (now.done + 1))
    assert now.done == 30
    assert now.first_loss is not None
    assert now.loss < now.first_loss
    later = sitting.Sitting("x", sitting.Budget(steps=50), before=30)
    while later.part < 1:
        later.count(1.0)
    assert later.done == 20, "the steps of the sitting before count"
    assert sitting.Sitting("x", sitting.Budget(steps=30), before=30).part == 1
    for wrong in ({}, {"steps": 1, "minutes": 1.0}):
        with pytest.raises(ValueError, match="steps or minutes"):
            sitting.Budget(**wrong)


def test_prompts_become_rows_and_strange_words_share_one() -> None:
    vocabulary = networks.find_vocabulary()
    rows = networks.PromptReader(vocabulary)(["a red circle", "A RED CIRCLE", "a red zeppelin", ""])
    assert rows.shape == (4, 77)
    assert torch.equal(rows[0], rows[1])
    assert vocabulary.unknown in rows[2].tolist()
    assert vocabulary.unknown not in rows[0].tolist()
    table = full_table(torch.arange(vocabulary.rows).float()[:, None], vocabulary)
    assert table.shape == (networks.CLIP_TOKENS, 1)
    assert len(table.unique()) == vocabulary.rows


def test_whitened_latents_are_white_and_decode_as_before() -> None:
    torch.manual_seed(0)
    vae = networks.build_vae().eval()
    pictures = data.draw_pool(3, 64, 64, 24).pictures
    batch = train_vae.to_tensor(pictures, CPU)
    with torch.no_grad():
        before = vae.decode(vae.encode(batch).latent_dist.mean).sample
        train_vae.whiten(vae, pictures, CPU)
        latents = vae.encode(batch).latent_dist.mean
        after = vae.decode(latents).sample
    rows = (latents * networks.SCALING_FACTOR).permute(1, 0, 2, 3).flatten(1)
    assert torch.allclose(rows.mean(dim=1), torch.zeros(4), atol=1e-3)
    assert torch.allclose(torch.cov(rows), torch.eye(4), atol=1e-2)
    assert torch.allclose(before, after, atol=1e-3)


def test_the_loss_is_that_of_a_velocity() -> None:
    """A network that answers the exact velocity has no loss wherever the input is not replaced by noise."""
    kept = train_denoiser.alphas_cumprod()
    assert kept[0] == pytest.approx(1 - 0.00085, abs=1e-6)
    assert 0.004 < kept[-1] < 0.005
    clean = torch.zeros(8, 4, 4, 4)

    def answer(noisy: torch.Tensor, timesteps: torch.Tensor, context: object, return_dict: bool) -> object:
        # With an empty picture the noise is noisy / sigma, and the velocity signal * noise.
        sigma, signal = (1 - kept[timesteps]).sqrt(), kept[timesteps].sqrt()
        noise = torch.where(
            (timesteps >= 920)[:, None, None, None], noisy, noisy / sigma[:, None, None, None]
        )
        return (signal[:, None, None, None] * noise,)

    torch.manual_seed(0)
    loss = train_denoiser.denoiser_loss(answer, torch.zeros(8, 77, 4), clean, kept)
    assert float(loss) < 1e-3


def test_the_answers_to_the_questions_are_the_scenes() -> None:
    scene = group_scene(Random(1), [("star", "red"), ("ring", "blue")], "white", layout="row", fill="striped")
    answers = dict(zip(reading.QUESTIONS, reading.true_answers(scene), strict=True))
    place = {"background": tuple(COLOURS), "shape 0": ("", *SHAPES), "colour 1": ("", *COLOURS)}
    assert place["background"][answers["background"]] == "white"
    assert place["shape 0"][answers["shape 0"]] == "star"
    assert place["colour 1"][answers["colour 1"]] == "blue"
    assert (answers["shape 2"], answers["colour 2"], answers["fill 2"]) == (0, 0, 0), "there is no third"


def test_questions_are_asked_at_the_end_of_a_caption_and_not_of_an_empty_one() -> None:
    """The loss depends on the states behind the text alone, and falls to its floor for the right answers."""
    torch.manual_seed(0)
    scenes = list(itertools.islice(data.scene_stream(5, 128, 128), 6))
    captions = ["a red circle", "", "two stars", "x", "", "y"]
    truth = reading.answers_of(scenes, captions)
    assert [bool((row < 0).all()) for row in truth] == [not text for text in captions]
    vocabulary = networks.find_vocabulary()
    rows = networks.PromptReader(vocabulary)(captions)
    questions = reading.Questions(16)
    states = torch.randn(6, 77, 16, requires_grad=True)
    loss, right = reading.reading_loss(questions, states, rows, vocabulary.end, truth)
    torch.autograd.backward(loss)
    assert states.grad is not None
    asked = states.grad.abs().sum(-1) > 0
    told = torch.tensor([bool(text) for text in captions])[:, None]
    assert torch.equal(asked, (rows == vocabulary.end) & told)
    assert right.shape == (int(asked.sum()), len(reading.QUESTIONS))


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("export") / "model"
    write_model(
        folder,
        unet=networks.build_unet().state_dict(),
        vae=networks.build_vae().state_dict(),
        text_encoder=networks.build_text_encoder().state_dict(),
    )
    return folder


def test_the_worker_loads_the_exported_folder(untrained: Path) -> None:
    checkpoint = load_checkpoint(untrained, device=CPU, dtype=torch.float32)
    assert checkpoint.prediction_type == "v_prediction"
    assert checkpoint.scaling_factor == networks.SCALING_FACTOR


def test_the_exported_folder_is_small_enough_for_git(untrained: Path) -> None:
    assert sum(path.stat().st_size for path in untrained.rglob("*") if path.is_file()) < 24_000_000


def test_the_single_file_holds_the_same_networks(untrained: Path, tmp_path: Path) -> None:
    """diffusers' own reader of LDM files finds every weight where it looks for it."""
    path = tmp_path / "model.safetensors"
    write_ldm_file(untrained, path)
    names = load_file(str(path)).keys()
    assert "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight" in names
    assert "first_stage_model.decoder.up.0.block.0.nin_shortcut.weight" in names
    assert "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight" in names
    for folder, kind in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        read = kind.from_single_file(
            str(path), config=str(untrained), subfolder=folder, local_files_only=True, torch_dtype=torch.half
        ).state_dict()
        expected = load_file(str(untrained / folder / "diffusion_pytorch_model.safetensors"))
        assert read.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(read[name], tensor), name


def test_a_model_becomes_a_training_state_and_back(untrained: Path, tmp_path: Path) -> None:
    resume(untrained, tmp_path)
    state = torch.load(tmp_path / "denoiser.pt", weights_only=True)
    unet, text = split_networks(state["mean"])
    vocabulary = networks.Vocabulary(tuple(state["tokens"]))
    stored = load_file(str(untrained / "unet" / "diffusion_pytorch_model.safetensors"))
    assert unet.keys() == stored.keys()
    assert all(torch.equal(tensor.half(), stored[name]) for name, tensor in unet.items())
    name = "embeddings.token_embedding.weight"
    known = list(vocabulary.tokens)
    table = load_file(str(untrained / "text_encoder" / "model.safetensors"))[f"text_model.{name}"]
    assert torch.equal(full_table(text[name], vocabulary)[known].half(), table[known])
    trainee.Trainee(vocabulary, CPU).restore(state)
    with pytest.raises(FileExistsError, match=r"vae\.pt is there already"):
        resume(untrained, tmp_path)
