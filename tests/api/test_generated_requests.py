"""Requests made from the interface's own description (schemathesis): no 5xx, no status that the description does not name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.generation import GenerationMode

from api.app import openapi_document

REQUESTS = 2_000
DEEP = 50_000
# a feed that goes on is no single answer; it is asked in test_http_contract.py
LEFT_OUT = {"/api/v1/feed"}
# administrator and GMP roles exclude each other, so no one person may do everything
PEOPLE = ("pharmacist", "operator", "quality", "administrator", "qp", "engineer")


def ask_everything(bench: Any, count: int) -> Counter[int]:
    """Ask each operation in turn with generated requests, valid and not, as each person in turn; return how often each status came."""
    document: Any = openapi_document()
    schema = schemathesis.openapi.from_dict(document)
    operations = [found.ok() for found in schema.get_all_operations() if found.ok().path not in LEFT_OUT]
    tokens = [bench.token(person) for person in PEOPLE]
    statuses: Counter[int] = Counter()
    turn = 0
    while sum(statuses.values()) < count:
        each = max(5, (count - sum(statuses.values())) // (2 * len(operations)))
        for operation in operations:
            description = document["paths"][operation.path][operation.method]
            ask = asking(bench, tokens, operation, description["responses"], statuses)
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) if can_be_wrong(description) else (GenerationMode.POSITIVE,):
                ask_each(ask, operation.as_strategy(generation_mode=mode), each, turn)
        turn += 1
    return statuses


def can_be_wrong(description: Any) -> bool:
    """Whether a request can fail to fit. One that takes nothing, or only free text in its path, cannot, and the search for one is long."""
    parameters = description.get("parameters", [])
    free = [{**found["schema"], "title": ""} == {"type": "string", "title": ""} and found["in"] == "path" for found in parameters]
    return "requestBody" in description or not all(free)


def ask_each(ask: Callable[[Any], None], cases: Any, count: int, turn: int) -> None:
    """Ask with `count` generated cases. Raises Unsatisfiable where there is none."""
    limits = settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    seed(turn)(limits(given(case=cases)(ask)))()


def asking(bench: Any, tokens: list[str], operation: Any, described: Any, statuses: Counter[int]) -> Callable[[Any], None]:
    """Return a function that sends one generated request and holds the answer against its description."""

    def ask(case: Any) -> None:
        token = tokens[sum(statuses.values()) % len(tokens)]
        answer = bench.client.request(case.method, case.formatted_path, **sent(case, token))
        statuses[answer.status_code] += 1
        what = f"{operation.method.upper()} {operation.path}: {answer.status_code} {answer.text[:300]}"
        assert answer.status_code < 500 or answer.status_code == 503, what
        assert str(answer.status_code) in described, what
        kinds = described[str(answer.status_code)].get("content", {})
        assert not answer.content or answer.headers["content-type"].split(";")[0] in {kind.split(";")[0] for kind in kinds}, what

    return ask


def sent(case: Any, token: str) -> dict[str, Any]:
    """Return a generated request as the test client takes it, with the person's token in place of any generated one."""
    keywords = case.as_transport_kwargs(base_url="http://localhost:8080")
    content = {name: keywords[name] for name in ("params", "json", "files") if keywords.get(name) is not None}
    if (data := keywords.get("data")) is not None:
        content["content" if isinstance(data, (bytes, str)) else "data"] = data
    headers = {name: value for name, value in keywords["headers"].items() if name.lower() not in ("connection", "authorization")}
    return {**content, "headers": {**headers, "Authorization": f"Bearer {token}"}}


def test_no_generated_request_is_answered_with_what_is_not_described(bench: Any) -> None:
    statuses = ask_everything(bench, REQUESTS)
    assert sum(statuses.values()) >= REQUESTS
    assert {200, 404, 422} <= statuses.keys(), "the requests must reach what lies behind the door"


@pytest.mark.deep
def test_no_generated_request_is_answered_with_what_is_not_described_deep(bench: Any) -> None:
    count = int(os.environ.get("DOSEWRIGHT_REQUESTS", DEEP))
    assert sum(ask_everything(bench, count).values()) >= count
