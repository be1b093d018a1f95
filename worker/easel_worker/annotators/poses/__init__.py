"""Key points of people and animals, drawn as ControlNets for poses were trained to read them."""

from __future__ import annotations

from easel_worker.annotators.poses.drawing import draw_pose

__all__ = ["draw_pose"]
