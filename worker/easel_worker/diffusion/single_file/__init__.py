"""Checkpoints as one file in LDM's format: what is in it, and how its names become those of the modules."""

from __future__ import annotations
