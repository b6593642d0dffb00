"""Lists in pages: whole, in order, nothing lost and nothing twice, also where rows are added between two pages."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st

from api.app import _ROUTERS, openapi_document
from api.demo_desk import Desk
from api.errors import InputInvalid
from api.paging import Paging, by, write_cursor

READING = {"GET"}


def page_of(rows: list[dict[str, Any]], limit: int, cursor: str, *fields: str) -> tuple[list[dict[str, Any]], str | None]:
    """One page, and the cursor that its Link names."""
    scope = {"type": "http", "path": "/api/v1/things", "query_string": b"kind=a%20b", "headers": [], "method": "GET", "app": FastAPI()}
    response = Response()
    found = Paging(Request(scope), response, limit, cursor).page(rows, by(*fields))
    link = response.headers.get("link")
    if link is None:
        return found, None
    address, _, relation = link.partition(">; ")
    assert relation == 'rel="next"' and address.startswith("</api/v1/things?kind=a+b&cursor=")
    return found, parse_qs(urlsplit(address[1:]).query)["cursor"][0]


names = st.text(min_size=1, max_size=6)


@given(st.sets(st.tuples(names, st.integers(0, 9)), max_size=30), st.integers(1, 7), st.data())
def test_rows_that_were_there_come_once_and_in_order_whatever_is_added_between(first: set[Any], limit: int, data: st.DataObject) -> None:
    rows = [{"id": name, "version": number} for name, number in data.draw(st.permutations(sorted(first)))]
    seen: list[tuple[str, int]] = []
    cursor: str | None = ""
    while cursor is not None:
        page, cursor = page_of(rows, limit, cursor, "id", "version")
        assert len(page) <= limit
        seen += [(row["id"], row["version"]) for row in page]
        for name, number in data.draw(st.sets(st.tuples(names, st.integers(0, 9)), max_size=2)):
            if not any((row["id"], row["version"]) == (name, number) for row in rows) and len(rows) < 60:
                rows.insert(0, {"id": name, "version": number})
    assert seen == sorted(set(seen)), "in order, none twice"
    assert first <= set(seen), "none lost"


@given(st.text(max_size=40))
def test_a_cursor_that_is_none_is_refused_and_never_an_error_of_ours(text: str) -> None:
    rows = [{"id": "a", "version": 1}, {"id": "b", "version": 2}]
    try:
        page, _ = page_of(rows, 1, text, "id", "version")
    except InputInvalid:
        return
    assert text == "" or json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    assert len(page) <= 1


@pytest.mark.parametrize("key", [(1,), ("a",), (1, "a"), ("a", "1"), ("a", 1, 1), ()])
def test_a_cursor_of_another_list_is_refused(key: tuple[str | int, ...]) -> None:
    with pytest.raises(InputInvalid):
        page_of([{"id": "a", "version": 1}], 1, write_cursor(key) if key else "W10", "id", "version")


def test_every_list_is_paged_in_the_same_way() -> None:
    document: Any = openapi_document()
    lists = [
        path
        for path, methods in document["paths"].items()
        if "get" in methods
        and methods["get"]["responses"]["200"].get("content", {}).get("application/json", {}).get("schema", {}).get("type") == "array"
    ]
    assert len(lists) >= 16
    for path in [*lists, "/api/v1/trail"]:
        operation = document["paths"][path]["get"]
        parameters = {item["name"]: item["schema"] for item in operation["parameters"]}
        assert (parameters["limit"]["maximum"], parameters["limit"]["default"]) == (500, 100), path
        assert parameters["cursor"]["type"] == "string" and "Link" in operation["responses"]["200"]["headers"], path
    declared = [route.path for router in _ROUTERS for route in router.routes if isinstance(route, APIRoute) and route.methods == READING]
    assert {"/api/v1/orders", "/api/v1/people"} <= set(lists) <= set(declared)


def test_a_list_is_followed_from_page_to_page(bench: Any) -> None:
    whole = bench.ask("operator", "GET", "/people").json()
    assert len(whole) > 3
    seen, path = [], "/people?limit=3"
    while path:
        answer = bench.ask("operator", "GET", path)
        assert answer.status_code == 200
        seen += answer.json()
        path = answer.links.get("next", {}).get("url", "").removeprefix("/api/v1")
    assert seen == whole == sorted(whole, key=lambda person: person["username"])
    desk = Desk("operator", "", bench.client)
    bench.client.headers["Authorization"] = f"Bearer {bench.token('operator')}"
    assert desk.list("/api/v1/people?limit=2") == whole, "the command line's way gives the whole"


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "cursor=%00", "cursor=e30", "cursor=WzFd", "cursor=bnVsbA"])
def test_what_is_no_page_is_refused(bench: Any, query: str) -> None:
    answer = bench.ask("operator", "GET", f"/people?{query}")
    assert answer.status_code == 422 and answer.json()["code"] == "AP-014"


@pytest.mark.parametrize("path", ["/trail?", "/trail?order=oldest&", "/cells/cell-1/equipment/history?what=checks&"])
@pytest.mark.parametrize("place", [2**53, 10**30, -(10**30)])
def test_a_place_that_no_record_has_is_refused(bench: Any, path: str, place: int) -> None:
    answer = bench.ask("operator", "GET", f"{path}cursor={write_cursor((place,))}")
    assert answer.status_code == 422 and answer.json()["code"] == "AP-014"


def test_the_trail_goes_on_by_its_link(bench: Any) -> None:
    answer = bench.ask("qp", "GET", "/trail?limit=2&order=oldest&kind=person.")
    (first, second) = (entry["seq"] for entry in answer.json()["entries"])
    following = answer.links["next"]["url"]
    assert "kind=person." in following and "order=oldest" in following
    further = bench.ask("qp", "GET", following.removeprefix("/api/v1")).json()["entries"]
    assert first < second < further[0]["seq"]
