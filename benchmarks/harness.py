"""What every benchmark needs: a private Redis, the machine in words, spreads, and a table that is kept.

Figures of one machine on one day say little; what counts is the comparison made side by side in one run, so
rounds alternate (A B A B …) and ratios are taken pair by pair.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import redis

from easel_queue import embedded

RESULTS = Path(os.environ.get("BENCH_RESULTS") or Path(__file__).parent / "results")


@dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum of repeated measurements, or their quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(min(values), statistics.median(values), max(values))

    @classmethod
    def middle(cls, values: Sequence[float]) -> Spread:
        """Quartiles and median instead: for many rounds, of which a few fall into others' work."""
        if len(values) < 2:
            return cls.of(values)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, median, high)

    def show(self, digits: int = 2) -> str:
        return f"{self.median:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie, by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextmanager
def private_redis(fsync: embedded.Fsync = "always") -> Iterator[str]:
    """A Redis of our own on loopback, with an append-only file as in production; answers its URL."""
    with tempfile.TemporaryDirectory(prefix="easel-bench-") as folder:
        port, password = embedded.free_port(), embedded.new_password()
        program = embedded.find_server()
        process = subprocess.Popen(
            program.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert process.stdin
        text = embedded.configuration(port=port, password=password, data_dir=Path(folder), fsync=fsync)
        process.stdin.write(text.encode())
        process.stdin.close()
        url = embedded.url(port=port, password=password)
        try:
            _await_redis(url)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _await_redis(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        for _ in range(500):
            try:
                client.ping()
            except redis.ConnectionError:
                time.sleep(0.02)
            else:
                return
    raise RuntimeError("the private Redis did not start")


def machine() -> str:
    """The machine in words, as it matters for the figures."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")),
        platform.machine(),
    )
    system = f"{platform.system()} {platform.release()}"
    return f"{os.cpu_count()} x {model}, {system}, Python {platform.python_version()}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; the first row is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    lines = [_line(row, widths) for row in rows]
    return [lines[0], rule, *lines[1:]]


def publish(
    name: str,
    title: str,
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    more: Mapping[str, Sequence[Sequence[str]]] | None = None,
) -> None:
    """Print a table (first row: the head) and write it to ``benchmarks/results/<name>.md`` and ``.json``.

    Args:
        notes: Lines below the table: what was done, what it does not show.
        more: Further tables, each below its heading.
    """
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    lines = [f"# {title}", "", *table(rows), ""]
    for heading, others in (more or {}).items():
        lines += [f"## {heading}", "", *table(others), ""]
    text = "\n".join([*lines, f"{when}, {machine()}.", "", *notes, ""])
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    further = {heading: {"head": others[0], "rows": others[1:]} for heading, others in (more or {}).items()}
    record = {
        "title": title,
        "date": when,
        "machine": machine(),
        "head": rows[0],
        "rows": rows[1:],
        "more": further,
        "notes": notes,
    }
    (RESULTS / f"{name}.json").write_text(
        json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
