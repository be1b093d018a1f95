"""Puts a generated table between the markers of a docs page, or checks that it is there."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main(page: str, subject: str, table: str) -> None:
    """Write `table` between the markers of `page` with ``--write``; without, exit if the page has another.

    The markers are ``<!-- SUBJECT: begin (tests/deploy/SUBJECT_table.py) -->`` and ``<!-- SUBJECT: end -->``.
    """
    path, script = ROOT / page, f"tests/deploy/{subject}_table.py"
    begin, end = f"<!-- {subject}: begin ({script}) -->", f"<!-- {subject}: end -->"
    text = path.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise SystemExit(f"{page}: the markers {begin} and {end} are missing")
    wanted = f"{before}{begin}\n\n{table.strip()}\n\n{end}{after}"
    if sys.argv[1:] == ["--write"]:
        path.write_text(wanted, encoding="utf-8")
    elif text != wanted:
        raise SystemExit(f"{page}: run `python {script} --write`")
