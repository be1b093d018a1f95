"""The tables of docs/options.md, from the options themselves.

python tests/deploy/options_table.py --write     puts them between the markers of the page
python tests/deploy/options_table.py --check     exit status 1 if the page has others
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from easel_contract.options import OPTIONS, Effect, Option

PAGE = Path(__file__).parents[2] / "docs/options.md"
BEGIN, END = "<!-- options: begin (tests/deploy/options_table.py) -->", "<!-- options: end -->"


def meaning(option: Option) -> str:
    """What the option does, the words that it takes, and who may set it."""
    text = option.description
    if option.values:
        text += f" One of {', '.join(option.values)}."
    return text.replace("|", "\\|")


def tables() -> str:
    """One table for each section of the options that do something; the others in lists."""
    lines: list[str] = []
    for section in dict.fromkeys(option.section for option in OPTIONS.values()):
        options = [option for option in OPTIONS.values() if option.section == section]
        used = [
            option for option in options if option.effect in {Effect.USED, Effect.COMPUTED, Effect.OPERATOR}
        ]
        if used:
            lines += [
                f"### {section[0].upper()}{section[1:]}",
                "",
                "| option | default | meaning |",
                "|---|---|---|",
            ]
            lines += [f"| `{item.key}` | `{json.dumps(item.default)}` | {meaning(item)} |" for item in used]
            lines.append("")
    lines += ["### Only at their defaults", ""]
    lines += [
        f"- `{option.key}`: `{json.dumps(option.default)}`"
        for option in OPTIONS.values()
        if option.effect is Effect.MISSING
    ]
    lines += ["", "### Kept, without an effect", ""]
    kept = [option for option in OPTIONS.values() if option.effect is Effect.KEPT]
    for section in dict.fromkeys(option.section for option in kept):
        keys = ", ".join(f"`{option.key}`" for option in kept if option.section == section)
        lines += [f"- {section}: {keys}"]
    return "\n".join(lines).strip()


def main() -> None:
    """Write or check the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(wanted, encoding="utf-8")
    elif text != wanted:
        raise SystemExit("docs/options.md: run `python tests/deploy/options_table.py --write`")


if __name__ == "__main__":
    main()
