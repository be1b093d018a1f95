"""Every error of the diffusion code.

DiffusionError
├── CheckpointError   a model folder cannot be used: files missing, wrong or of an unknown kind. Fix it.
├── DeviceError       the asked device or dtype is not to be had on this machine. Fix the settings.
├── JobError          a job asks for what cannot be drawn (no steps, unknown sampler). Fix the request.
└── NanError          the numbers overflowed on the way to a picture. Use a wider dtype.
"""

from __future__ import annotations


class DiffusionError(Exception):
    """Base of everything this package raises on purpose."""


class CheckpointError(DiffusionError):
    """A checkpoint cannot be loaded; the message names the file and says what would be right."""


class DeviceError(DiffusionError):
    """The device or dtype in the settings does not exist here or does not go together."""


class JobError(DiffusionError, ValueError):
    """A field of a job has a value that nothing can be drawn from; the message names the field."""


class NanError(DiffusionError):
    """The UNet or the VAE produced values that are not finite, so there is no picture to return."""
