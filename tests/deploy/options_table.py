"""The tables of docs/options.md, from the options themselves.

python tests/deploy/options_table.py --write     puts them between the markers of the page
python tests/deploy/options_table.py --check     exit status 1 if the page has others
"""

from __future__ import annotations

import json

from page_table import main

from easel_contract.options import OPTIONS, Effect, Option


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


if __name__ == "__main__":
    main("docs/options.md", "options", tables())
