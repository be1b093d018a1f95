"""Noise that looks like a picture: the same colours, the same amount of detail at every scale."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from easel_worker.imaging.color import match_histograms
from easel_worker.imaging.levels import Floats

# Floor of a magnitude that is divided by.
_TINY = 1e-8


def matched_noise(
    picture: Floats, unknown: Floats, *, exponent: float = 1.0, colour: float = 0.05, seed: int = 0
) -> Floats:
    """Continue `picture` (H, W, 3; 0 to 1) with noise where `unknown` (H, W; 0 to 1) is 1.

    Spectral noise synthesis (after Heeger & Bergen 1995, "Pyramid-based texture analysis/synthesis", with the
    Fourier transform in the pyramid's place):

    1. The known part, without its mean colour and softened towards the unknown by a window, gives a complex
       spectrum: magnitude and phase at every frequency.
    2. White noise gives another one. Its power times the picture's magnitude to the power `exponent`, with
       the picture's phase, is the spectrum of the filling. A lower `exponent` gives finer grain.
    3. The filling's histogram, in the unknown part, channel by channel, is made the known part's.

    `colour` is how much the noise differs between the channels: 0 is grey noise, 1 three independent ones.
    The noise is drawn from numpy's default generator with `seed`: the same picture for the same input.
    Returns (H, W, 3), 0 to 1; known pixels unchanged, between them and the filling a mix by `unknown`. With
    nothing known the filling is mid-grey noise.
    """
    known = (1.0 - unknown)[..., None]
    spectrum: NDArray[np.number[Any]] = _noise_power(picture.shape, colour, seed)
    sample = picture[unknown < 0.5]
    if len(sample):
        windowed = (picture - sample.mean(axis=0)) * known * _window(picture.shape)
        known_spectrum = np.fft.fft2(windowed, axes=(0, 1))
        magnitude = np.abs(known_spectrum)
        spectrum = spectrum * magnitude**exponent * (known_spectrum / np.maximum(magnitude, _TINY))
    hole = unknown > 0.0
    filling: Floats = np.fft.ifft2(spectrum, axes=(0, 1)).real[hole].astype(np.float32)
    if len(sample):
        filling = match_histograms(filling, sample)
    else:
        filling = 0.5 + 0.25 * filling / max(float(filling.std()), _TINY)
    filled = picture.copy()
    filled[hole] = filling + (picture[hole] - filling) * known[hole]
    return cast("Floats", filled.clip(0.0, 1.0))


def _noise_power(shape: tuple[int, ...], colour: float, seed: int) -> Floats:
    """Power spectrum of white noise, (H, W, 3), without its constant part."""
    rng = np.random.default_rng(seed)
    grey = rng.standard_normal((*shape[:2], 1), dtype=np.float32)
    coloured = rng.standard_normal(shape, dtype=np.float32)
    power = np.abs(np.fft.fft2(grey * (1.0 - colour) + coloured * colour, axes=(0, 1))) ** 2
    power[0, 0] = 0.0
    return np.asarray(power, dtype=np.float32)


def _window(shape: tuple[int, ...]) -> Floats:
    """Hann window over the whole frame, (H, W, 1): without it the frame's edges would count as detail."""
    rows, columns = (0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n) for n in shape[:2])
    return np.outer(rows, columns)[..., None].astype(np.float32)
