"""The table of routes: complete, documented, and unambiguous."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from runtime.server.routes import NO_SWARM, ROUTES, UNPLANNED, find

ROOT = Path(__file__).resolve().parents[4]
ENDPOINTS = json.loads((ROOT / "tests/conformance/engine-api-1.47.json").read_text())["endpoints"]
ROW = re.compile(r"^\| (GET|HEAD|POST|PUT|DELETE) \| (/\S*) \| (done|differs|ours) \|", re.MULTILINE)


def plain(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


@pytest.mark.parametrize(("method", "path"), ENDPOINTS, ids=str)
def test_every_endpoint_of_the_description_is_served_or_refused_with_a_reason(method: str, path: str) -> None:
    example = re.sub(r"\{[^}]*\}", "x", path)
    if find(method, example) is None:
        refusals = [pattern for pattern, _ in (*UNPLANNED, *NO_SWARM)]
        assert any(re.match(pattern, f"{method} {example}") for pattern in refusals)


def test_the_document_lists_exactly_what_is_served() -> None:
    text = (ROOT / "docs/engine-api.md").read_text()
    documented = {(method, plain(path)) for method, path, _ in ROW.findall(text)}
    served = {(route.method, plain(route.path).rstrip("/")) for route in ROUTES}
    assert documented == served


@pytest.mark.parametrize(
    ("method", "path", "operation", "ref"),
    [
        ("GET", "/containers/json", "container_list", None),
        ("GET", "/containers/json/json", "container_inspect", "json"),
        ("POST", "/containers/create", "container_create", None),
        ("GET", "/images/json", "image_list", None),
        ("GET", "/images/a/b:c/json", "image_inspect", "a/b:c"),
        ("GET", "/images/host:5000/a/json", "image_inspect", "host:5000/a"),
        ("GET", "/images/a/history/history", "image_history", "a/history"),
        ("DELETE", "/images/a/b/c", "image_remove", "a/b/c"),
        ("GET", "/networks/", "network_list", None),
        ("GET", "/networks/x", "network_inspect", "x"),
        ("POST", "/networks/prune", "network_prune", None),
    ],
)
def test_paths_find_their_handler(method: str, path: str, operation: str, ref: str | None) -> None:
    found = find(method, path)
    assert found is not None
    route, params = found
    assert (route.operation, params.get("ref")) == (operation, ref)


@pytest.mark.parametrize(
    "path",
    [
        "/containers//json",
        "/containers/../json",
        "/containers/./json",
        "/containers/a/b/json",
        "/images/../x/json",
        "/images/a/../b/json",
        "/images//json",
        "/containers",
        "containers/json",
        "/CONTAINERS/json",
        "",
    ],
)
def test_no_path_finds_its_way_around(path: str) -> None:
    assert find("GET", path) is None
