"""docs/compatibility.md cannot drift from the requests and the routes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from easel_contract.controlnet import ControlUnit
from easel_contract.controlnet.detect import DetectRequest
from easel_contract.controlnet.spellings import ALIASES, IDLE
from easel_contract.extras import ExtrasBatchRequest, ExtrasSingleRequest, InterrogateRequest
from easel_contract.requests import AlwaysonOptions, GenerationRequest, Img2ImgRequest, Txt2ImgRequest
from easel_gateway.app import create_app
from easel_gateway.sdapi.scripts import script_titles
from easel_gateway.settings import GatewaySettings

PAGE = (Path(__file__).parents[2] / "docs/compatibility.md").read_text(encoding="utf-8")
STATES = {"works", "differs", "refused"}
ABSENT = "Endpoints that are not there"
Rows = list[tuple[list[str], str, str]]


def sections() -> dict[str, Rows]:
    """Title -> rows of its tables: what stands in code in the first cell, the state, the remark."""
    found: dict[str, Rows] = {}
    for part in re.split(r"^##+ ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")][1:]
        found[title] = [
            (re.findall(r"`([^`]+)`", cells[0]), cells[1].strip(), cells[2].strip()) for cells in rows
        ]
    return found


SECTIONS = sections()


def names(title: str) -> list[str]:
    return [name for row in SECTIONS[title] for name in row[0]]


def endpoints() -> list[str]:
    """What the page lists as being there."""
    titles = ("Endpoints", "ControlNet", "agent-scheduler", "Easel's own")
    return [name for title in titles for name in names(title)]


def routes() -> set[str]:
    """METHOD /path of the OpenAPI."""
    document = create_app(GatewaySettings()).openapi()
    return {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}


def own(model: type[BaseModel]) -> list[str]:
    """Fields of a request that are not those of both."""
    return [name for name in model.model_fields if name not in GenerationRequest.model_fields]


def unit_fields() -> list[str]:
    """What a client may send in a ControlNet unit: its fields, those that become others, older names, and
    those that do nothing."""
    made = {"index", "pictures", "warnings"}
    read = {"enabled", "image", "image_link"}
    return sorted(ControlUnit.model_fields.keys() - made | read | ALIASES.keys() | IDLE.keys())


@pytest.mark.parametrize(
    ("title", "fields"),
    [
        ("Fields of txt2img and img2img", list(GenerationRequest.model_fields)),
        ("Fields of txt2img alone", own(Txt2ImgRequest)),
        ("Fields of img2img alone", own(Img2ImgRequest)),
        ("The cloud's keys in alwayson_scripts", list(AlwaysonOptions.model_fields)),
        ("Fields of a ControlNet unit", unit_fields()),
        ("Fields of detect", list(DetectRequest.model_fields)),
        (
            "Fields of the extras calls",
            list(
                dict.fromkeys(
                    name
                    for model in (ExtrasSingleRequest, ExtrasBatchRequest, InterrogateRequest)
                    for name in model.model_fields
                )
            ),
        ),
    ],
)
def test_every_field_is_listed_and_no_other(title: str, fields: list[str]) -> None:
    assert sorted(names(title)) == sorted(fields)


def test_every_route_is_listed_and_no_other() -> None:
    assert sorted(endpoints()) == sorted(routes())


def test_what_it_says_is_not_there_is_not() -> None:
    assert names(ABSENT)
    assert not set(names(ABSENT)) & routes()


def test_every_script_that_is_listed_is_on_the_page() -> None:
    listed = {*script_titles(img2img=False), *script_titles(img2img=True)}
    assert listed <= set(names("Scripts"))


def test_every_row_has_a_state_and_a_difference_its_remark() -> None:
    for title, rows in SECTIONS.items():
        if title == "Errors":
            continue
        for named, state, remark in rows:
            assert state in STATES, (title, named)
            assert remark or state == "works", (title, named)
