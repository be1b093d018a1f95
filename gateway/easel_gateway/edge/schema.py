"""What FastAPI cannot see of our handlers, for the OpenAPI schema: bodies and answers.

Handlers read the raw body themselves, to take JSON whatever the content type says (A1111's clients vary) and
to never repeat a client's megabytes in an error; and many answer with bytes that they made.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel


class Problem(BaseModel):
    """Every refusal but a validation's, in A1111's shape; `detail` and `errors` say what is wrong."""

    error: str
    detail: str
    body: str
    errors: str


class ValidationProblem(BaseModel):
    """What is wrong with which fields, in FastAPI's shape."""

    class Item(BaseModel):
        """One field: its path, what is wrong, and the kind of mistake."""

        loc: list[str | int]
        msg: str
        type: str

    detail: list[Item]


TEXT = "text/plain"
_DESCRIPTIONS = {
    400: "Wrong parameters, headers or HTTP",
    401: "A token is wanted",
    403: "Sent by a page of another site",
    404: "Not there",
    408: "The request, or the result of a synchronous call, did not come in time",
    409: "Another task, call or watcher is in the way",
    410: "The stream has ended, or the task was deleted",
    413: "Too large",
    415: "Not a form",
    422: "Wrong fields, or an idempotency key of another request",
    429: "One user has sent too much; repeat it after `Retry-After`",
    500: "It failed",
    501: "Easel does not do this",
    503: "Full, overloaded, or Redis is away; repeat it after `Retry-After`",
}
_EVERYWHERE = (400, 401, 403, 503)
"""Any request may be answered with these; the first also as plain text, by the HTTP parser."""

Responses = dict[int | str, dict[str, Any]]


def answers(success: dict[str, Any] | None = None, *failures: int, description: str = "Done") -> Responses:
    """`responses` of a route: what a 200 carries (media type -> schema; None: what FastAPI sees), and the
    failures that it may answer beside those of every route."""
    found: Responses = {}
    if success is not None:
        shown = {media: {"schema": schema} for media, schema in success.items()}
        found[200] = {"description": description, "content": shown}
    for status in failures:
        model: Any = ValidationProblem | Problem if status == 422 else Problem
        found[status] = {"description": _DESCRIPTIONS[status], "model": model}
    return found


def parameter(
    name: str, schema: dict[str, Any], description: str = "", *, place: str = "query"
) -> dict[str, Any]:
    """An optional parameter that the handler reads itself."""
    return {"name": name, "in": place, "required": False, "schema": schema, "description": description}


_TEMPLATE = "#/components/schemas/{model}"


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a route whose JSON body is a `model`; the application must `describe` that model."""
    schema = {"$ref": _TEMPLATE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def array_body(model: type[BaseModel]) -> dict[str, Any]:
    """The same for a body that is a list of them."""
    schema = {"type": "array", "items": {"$ref": _TEMPLATE.format(model=model.__name__)}}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe(app: FastAPI, *models: type[BaseModel]) -> None:
    """Add the models to the application's schema."""
    generate = app.openapi
    wanted: tuple[type[BaseModel], ...] = (*models, Problem)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            whole = generate()
            for path in whole["paths"].values():
                for operation in path.values():
                    _add_everywhere(operation["responses"])
            schemas = whole.setdefault("components", {}).setdefault("schemas", {})
            for model in wanted:
                described = model.model_json_schema(ref_template=_TEMPLATE)
                schemas.update(described.pop("$defs", {}))
                schemas[model.__name__] = described
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents replacing it


def _add_everywhere(responses: dict[str, Any]) -> None:
    problem = {"application/json": {"schema": {"$ref": _TEMPLATE.format(model=Problem.__name__)}}}
    plain = {TEXT: {"schema": {"type": "string"}}}
    for status in _EVERYWHERE:
        declared = responses.setdefault(
            str(status), {"description": _DESCRIPTIONS[status], "content": problem}
        )
        if status in {400, 503}:  # the HTTP parser, and the limit of connections
            declared["content"] = {**declared["content"], **plain}
    if "408" in responses:
        responses["408"]["content"] = {**responses["408"]["content"], **plain}
