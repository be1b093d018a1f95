"""A real `easel up` for benchmarks, on a free port with a data directory of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EASEL = Path(sysconfig.get_path("scripts")) / "easel"


@contextmanager
def running_easel(**env: str) -> Iterator[tuple[str, Path]]:
    """Start Easel with these settings; answers its address and data directory. Its log goes to stderr."""
    with tempfile.TemporaryDirectory(prefix="easel-bench-") as folder:
        settings = {name: value for name, value in os.environ.items() if not name.startswith("EASEL_")}
        process = subprocess.Popen(
            [str(EASEL), "up", "--port", "0", "--data-dir", folder],
            env={**settings, "PYTHONUNBUFFERED": "1", "EASEL_LOG_LEVEL": "WARNING", **env},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert process.stdout
            for line in process.stdout:
                if found := re.match(r"Easel is ready: (http://\S+)", line):
                    yield found[1], Path(folder)
                    return
            raise RuntimeError("easel up ended before it was ready")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(120)
