"""The settings tables of docs/operations.md, from the settings models themselves.

python tests/deploy/settings_table.py --write     puts them between the markers of the page
python tests/deploy/settings_table.py --check     exit status 1 if the page has others
"""

from __future__ import annotations

import inspect
from typing import Any

from page_table import main
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from easel_contract.settings import CommonSettings
from easel_gateway.cli.settings import UpSettings
from easel_gateway.settings import GatewaySettings
from easel_worker.settings import WorkerSettings

TABLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("Every process", CommonSettings),
    ("Gateway", GatewaySettings),
    ("Worker", WorkerSettings),
    ("`easel up` only", UpSettings),
)


def own_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields that a model adds to its base."""
    return {
        name: field for name, field in model.model_fields.items() if name in inspect.get_annotations(model)
    }


def shown(default: Any) -> str:
    """A default as one would set it."""
    if default is None or default is PydanticUndefined or default == "":
        return ""
    if isinstance(default, SecretStr):
        return shown(default.get_secret_value())
    if isinstance(default, tuple):
        return f"`{','.join(map(str, default))}`" if default else ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def tables() -> str:
    """All of them, as Markdown."""
    lines = []
    for title, model in TABLES:
        lines += [f"### {title}", "", "| variable | default | meaning |", "|---|---|---|"]
        for name, field in own_fields(model).items():
            if not field.description:
                raise SystemExit(f"{model.__name__}.{name} needs a description")
            meaning = field.description.replace("|", "\\|")
            lines.append(f"| `EASEL_{name.upper()}` | {shown(field.default)} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main("docs/operations.md", "settings", tables())
