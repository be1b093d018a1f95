"""Benchmarks run to their end; the counts are tiny and the figures mean nothing."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.slow


def run(python: str, results: Path, name: str, *args: str) -> dict[str, Any]:
    """The result that a benchmark writes."""
    subprocess.run(
        [python, str(BENCHMARKS / f"{name}.py"), *args],
        env={**os.environ, "BENCH_RESULTS": str(results)},
        check=True,
        timeout=250,
    )
    assert (results / f"{name}.md").read_text().startswith("# ")
    found: dict[str, Any] = json.loads((results / f"{name}.json").read_text())
    return found


def test_queue_cycle(python: str, tmp_path: Path) -> None:
    """Peers that are not installed are rows that say so."""
    result = run(python, tmp_path, "queue_cycle", "--jobs", "50", "--rounds", "1")
    rows = {row[0]: row[1:] for row in result["rows"]}
    ours = ["Easel", "Easel (direct reply)"]
    assert list(rows) == [*ours, "RQ", "Celery", "dramatiq", "arq", "taskiq", "huey", "BullMQ"]
    assert all(float(cell.split()[0]) > 0 for name in ours for cell in rows[name][:6])
    for name, cells in rows.items():
        absent = cells[0].startswith("absent: ")
        assert not absent or "make bench-peers" in cells[0] or "no node" in cells[0], (name, cells[0])


def test_gateway_throughput(python: str, tmp_path: Path) -> None:
    args = ("--rounds", "1", "--seconds", "0.3", "--connections", "1,8")
    result = run(python, tmp_path, "gateway_throughput", *args)
    assert [row[0] for row in result["rows"]] == ["1", "8"]
    assert all(float(cell.split()[0]) > 0 for row in result["rows"] for cell in row[1:])


def test_depth(python: str, tmp_path: Path) -> None:
    args = ("--depths", "200,1000", "--users", "1,10", "--rounds", "2")
    result = run(python, tmp_path, "depth", *args)
    assert [row[:2] for row in result["rows"]] == [
        ["1", "200"],
        ["1", "1,000"],
        ["10", "200"],
        ["10", "1,000"],
    ]
    assert all(float(cell.split()[0]) > 0 for row in result["rows"] for cell in row[2:])


def test_model_switch(python: str, tmp_path: Path) -> None:
    result = run(python, tmp_path, "model_switch", "--rounds", "1", "--width", "32", "--threads", "1")
    assert [row[0].split()[0] for row in result["rows"]] == [
        "first", "load", "switch", "LoRA", "LoRA", "ControlNet", "ControlNet",
    ]  # fmt: skip
    assert all(float(row[4].split()[0]) > 0 for row in result["rows"])
