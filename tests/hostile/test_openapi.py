"""Our OpenAPI tells the truth: schemathesis makes requests from it and holds the answers to it."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from easel_gateway.app import create_app
from easel_gateway.settings import GatewaySettings

from .conftest import same_examples
from .gateways import GatewayProcess

SHORT = 8
LONG = 400

OPENAPI: dict[str, Any] = create_app(GatewaySettings()).openapi()
DOCUMENT = schemathesis.openapi.from_dict(OPENAPI)
OPERATIONS = {
    operation.label: operation for operation in (result.ok() for result in DOCUMENT.get_all_operations())
}
CASES = [
    pytest.param(label, mode, id=f"{label} {mode.value}")
    for label, operation in OPERATIONS.items()
    for mode in GenerationMode
    # A path alone, and nothing at all, cannot be wrong.
    if mode is GenerationMode.POSITIVE or list(operation.query) or list(operation.body)
]
CONFORMANCE = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
STRICT = ("/easel/v1/", "/sdapi/v1/png-info")
"""Where a value outside the schema is refused. EAS operations ignore parameters that are another one's, and
A1111's dialect takes numbers as text and null for any default."""
FAILING = ("/sdapi/v1/png-info", "/sdapi/v1/create/", "/sdapi/v1/train/")
"""A1111 answers 500 to what is no picture, and Easel does not train: 501."""


@pytest.fixture(params=[SHORT, pytest.param(LONG, marks=pytest.mark.slow)])
def examples(request: pytest.FixtureRequest) -> settings:
    """The same examples in every run: a few, or many."""
    return same_examples(request.param)


def aim(case: Case, target: GatewayProcess) -> None:
    """At our service, every second time; and never at what has no end."""
    if "rest" in case.path_parameters and len(str(case.path_parameters["rest"])) % 2:
        case.path_parameters["rest"] = f"{target.service}/sink"
    query = case.query or {}
    if str(query.get("_watch_", "")).lower() in {"true", "1"}:
        query["_watch_"] = "false"
    if isinstance(query.get("wait_s"), int | float):
        query["wait_s"] = min(query["wait_s"], 0.01)
    if str(query.get("_eos_", "")).lower() in {"true", "1"}:
        query["_eos_"] = "false"  # an ended stream refuses all that comes later


@pytest.mark.parametrize(("label", "mode"), CASES)
def test_answers_are_as_declared(
    target: GatewayProcess, examples: settings, label: str, mode: GenerationMode
) -> None:
    checks = list(CONFORMANCE)
    if not any(part in label for part in FAILING):
        checks.append(not_a_server_error)
    if mode is GenerationMode.NEGATIVE and any(part in label for part in STRICT):
        checks.append(negative_data_rejection)

    @examples
    @given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
    def attack(case: Case) -> None:
        aim(case, target)
        case.call_and_validate(base_url=target.url, checks=checks, timeout=60)

    attack()


def test_the_document_is_served_and_whole(target: GatewayProcess) -> None:
    served = target.http.get("/openapi.json").json()
    assert served == OPENAPI
    for path, operations in served["paths"].items():
        for method, operation in operations.items():
            assert operation["responses"]["200"]["content"], (method, path)
            assert {"400", "401", "403", "503"} <= set(operation["responses"]), (method, path)


def test_what_no_route_takes_is_refused_in_the_same_shape(target: GatewayProcess) -> None:
    """A path with a line feed matches no route, and other methods are nobody's."""
    problem = {"error", "detail", "body", "errors"}
    for path in ("/api/predict/%0A", f"{target.source}/a%0Ab", "/nothing"):
        answer = target.http.post(path)
        assert (answer.status_code, set(answer.json())) == (404, problem)
    answer = target.http.patch(target.source)
    assert (answer.status_code, set(answer.json())) == (405, problem)
    assert answer.headers["Allow"]


def test_what_only_a_state_brings_is_declared_too(target: GatewayProcess) -> None:
    """Answers that random requests hardly meet."""
    validate = OPERATIONS["GET /api/predict/{rest}"]
    target.http.post(target.sink, content=b"x", params={"colour": "red"})
    for query in (
        {"_attrs_": "true"},
        {"_count_": "true"},
        {"_search_": "true", "_index_": "1"},
        {"_search_": "true", "_index_": "999999"},
        {"_raw_": "false", "_auto_delete_": "false"},
        {"_raw_": "true", "_auto_delete_": "false"},
        {"_index_": "999999"},
    ):
        for accept in ("application/json", "application/vnd.google.protobuf"):
            case = validate.Case(
                path_parameters={"rest": f"{target.service}/sink"}, query=query, headers={"Accept": accept}
            )
            case.call_and_validate(base_url=target.url, checks=[*CONFORMANCE, not_a_server_error])
    put = OPERATIONS["POST /api/predict/{rest}"]
    for body in (b"one", b"two"):
        case = put.Case(
            path_parameters={"rest": target.service},
            headers={"Idempotency-Key": "k"},
            body=body,
            media_type="application/octet-stream",
        )
        case.call_and_validate(base_url=target.url, checks=CONFORMANCE)
