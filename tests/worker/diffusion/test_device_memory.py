"""Devices, dtypes, and telling that memory ran out."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from easel_worker.diffusion.device import describe, pick_device, pick_dtype
from easel_worker.diffusion.errors import DeviceError
from easel_worker.diffusion.memory import free_memory, is_out_of_memory

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def test_auto_takes_a_gpu_if_there_is_one() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize("setting", ["tpu", "cuda:x", "cpu:1", "cuda:99", "cuda:-1"])
def test_devices_that_are_not_to_be_had(setting: str) -> None:
    with pytest.raises(DeviceError, match=f"device '{setting}' is"):
        pick_device(setting)


@pytest.mark.parametrize(
    ("device", "setting", "dtype"),
    [
        (CPU, "auto", torch.float32),
        (CPU, "bf16", torch.bfloat16),
        (CPU, "FP32", torch.float32),
        (CUDA, "auto", torch.float16),
        (CUDA, "float16", torch.float16),
    ],
)
def test_dtypes(device: torch.device, setting: str, dtype: torch.dtype) -> None:
    assert pick_dtype(device, setting) is dtype


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(DeviceError, match="use fp32 or bf16"):
        pick_dtype(CPU, "fp16")
    with pytest.raises(DeviceError, match="dtype 'int8' is unknown"):
        pick_dtype(CPU, "int8")


def test_the_cpu_describes_itself() -> None:
    said = describe(CPU)
    assert said["device"] == "cpu"
    assert int(said["memory_bytes"]) > 2**28
    assert said["torch"] == torch.__version__


def test_torchs_own_refusal_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert is_out_of_memory(caught.value)


def test_a_gpus_refusal_is_out_of_memory_also_as_a_cause() -> None:
    error = ValueError("could not draw")
    error.__cause__ = torch.OutOfMemoryError("CUDA out of memory")
    assert is_out_of_memory(error)
    assert is_out_of_memory(MemoryError())


def test_other_errors_are_not() -> None:
    error = RuntimeError("shapes do not match")
    error.__cause__ = error
    assert not is_out_of_memory(error)
    assert not is_out_of_memory(KeyboardInterrupt())


class Holder:
    """Holds a tensor and, through itself, stays alive until a collection."""

    def __init__(self) -> None:
        self.tensor = torch.zeros(10)
        self.me = self


def test_free_memory_collects_what_holds_itself() -> None:
    gc.disable()
    try:
        gone = weakref.ref(Holder())
        assert gone() is not None
        free_memory(CPU)
        assert gone() is None
    finally:
        gc.enable()
