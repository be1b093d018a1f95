"""Samplers: how a latent walks down the noise levels of a schedule.

`solver.py` holds the one loop and what it hands to a sampler; the other modules hold one small function per
sampler; `registry.py` knows them by the names that A1111's clients use.
"""
