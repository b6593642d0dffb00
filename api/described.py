"""The description of the HTTP interface, made whole: bodies that routes read by themselves, and an example of every body and every answer.

The examples are in `openapi_examples.json`: requests and answers of a demonstration site as they were given, shortened, secrets taken
out. A test holds each against its schema, and that none is missing.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import cast

from pydantic import BaseModel, JsonValue

from api.problem_responses import Problem

Tree = dict[str, JsonValue]
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
_REFERENCE = "#/components/schemas/{model}"


def body_of_route(model: type[BaseModel], *, required: bool = True) -> dict[str, JsonValue]:
    """Return what the description says of a body that a route reads by itself: JSON, or the same fields as a plain form."""
    schema: JsonValue = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": required, "content": {JSON: {"schema": schema}, FORM: {"schema": schema}}}}


def completed(document: dict[str, object], models: tuple[type[BaseModel], ...]) -> dict[str, object]:
    """Return the document with the schemas of these models, and with its examples."""
    components = cast("dict[str, dict[str, object]]", document.setdefault("components", {})).setdefault("schemas", {})
    described: tuple[type[BaseModel], ...] = (Problem, *models)
    for model in described:
        schema = model.model_json_schema(ref_template=_REFERENCE)
        components |= schema.pop("$defs", {})
        components[model.__name__] = schema
    for path, methods in cast("dict[str, dict[str, Tree]]", document["paths"]).items():
        for method, operation in methods.items():
            _exemplify(operation, examples().get(f"{method.upper()} {path}", {}))
    return document


@cache
def examples() -> dict[str, Tree]:
    """Return `request` and `answer` by method and path of the operation, as far as it has them."""
    text = resources.files("api").joinpath("openapi_examples.json").read_text(encoding="utf-8")
    found: dict[str, Tree] = json.loads(text)
    return found


def _exemplify(operation: Tree, found: Tree) -> None:
    body = operation.get("requestBody")
    if "request" in found and isinstance(body, dict):
        for kind, content in _contents(body):
            if kind != FORM:
                content["example"] = found["request"]
    answers = operation.get("responses")
    if "answer" in found and isinstance(answers, dict):
        for status, answer in answers.items():
            for kind, content in _contents(answer) if status.startswith("2") else ():
                if kind.endswith("json"):
                    content["example"] = found["answer"]


def _contents(holder: JsonValue) -> list[tuple[str, Tree]]:
    content = holder.get("content") if isinstance(holder, dict) else None
    return [(kind, item) for kind, item in content.items() if isinstance(item, dict)] if isinstance(content, dict) else []
