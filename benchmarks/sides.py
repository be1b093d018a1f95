"""A side of a comparison: a process of its own that is asked in JSON, a line at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Side:
    """One process, ready for its first job."""

    name: str
    process: subprocess.Popen[str]

    @classmethod
    def start(cls, script: Path, name: str, *args: str) -> Side:
        argv = [sys.executable, str(script), name, *args]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        side = cls(name, process)
        side.hear()
        return side

    def hear(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"the {self.name} side ended")
        return line

    def ask(self, **job: Any) -> dict[str, float]:
        assert self.process.stdin
        print(json.dumps(job), file=self.process.stdin, flush=True)
        answer: dict[str, float] = json.loads(self.hear())
        return answer

    def stop(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(60)
