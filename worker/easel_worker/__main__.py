"""`python -m easel_worker`: run the worker; `python -m easel_worker doctor`: one JSON line about torch."""

from __future__ import annotations

import os
import sys

SPIN_COUNT = "3000"
"""How often one of torch's CPU threads looks for the others before it sleeps (GNU OpenMP, GOMP_SPINCOUNT).

Its default of 300,000 outlasts another process's time slice: where others want the same cores (two workers
on a machine, a container with a CPU quota) renders took up to ten times as long. Never spinning doubled the
time of a small picture on a quiet two-core machine; this showed no difference there."""


def main() -> int:
    """Entry point. What concerns the whole process must be set before torch is loaded, and before there are
    threads, which the last import below brings."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)

    from easel_worker.host_memory import keep_freed_memory

    keep_freed_memory()

    from easel_worker.main import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
