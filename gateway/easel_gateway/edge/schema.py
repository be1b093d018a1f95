"""Request bodies in the OpenAPI schema, for handlers that read the raw body themselves.

They do so to keep the size limit, to take JSON whatever the content type says (A1111's clients vary), and to
never repeat a client's megabytes in an error.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

_TEMPLATE = "#/components/schemas/{model}"


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a route whose JSON body is a `model`; the application must `describe` that model."""
    schema = {"$ref": _TEMPLATE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe(app: FastAPI, *models: type[BaseModel]) -> None:
    """Add the models to the application's schema."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schemas = generate().setdefault("components", {}).setdefault("schemas", {})
            for model in models:
                described = model.model_json_schema(ref_template=_TEMPLATE)
                schemas.update(described.pop("$defs", {}))
                schemas[model.__name__] = described
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents replacing it
