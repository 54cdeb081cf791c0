"""Requests to values: as lenient and as strict as Go's decoder."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.errors import InvalidArgument
from runtime.api.types import ContainerCreateBody, ContainerUpdateBody, ExecCreateBody, NetworkCreateBody
from runtime.server.app import clean_path, parse_query, split_version
from runtime.server.decode import Query, load_json, shape

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*ContainerCreateBody.__annotations__, "hostconfig", "IMAGE", "Unknown"])


def test_keys_are_taken_in_any_case_and_the_last_spelling_wins() -> None:
    body = {"image": "a", "HOSTCONFIG": {"memory": 1}, "Image": "b"}
    assert shape(body, ContainerCreateBody) == {"Image": "b", "HostConfig": {"Memory": 1}}


def test_null_is_absent() -> None:
    body = {"Image": "x", "Cmd": None, "HostConfig": {"Binds": None, "MemorySwappiness": None}}
    assert shape(body, ContainerCreateBody) == {"Image": "x", "HostConfig": {}}
    assert shape(None, ContainerUpdateBody) == {}


def test_null_inside_a_map_or_list_is_the_empty_value() -> None:
    body = {"HostConfig": {"PortBindings": {"80/tcp": None}}, "ExposedPorts": {"80/tcp": None}, "Env": [None]}
    assert shape(body, ContainerCreateBody) == {
        "HostConfig": {"PortBindings": {"80/tcp": []}},
        "ExposedPorts": {"80/tcp": {}},
        "Env": [""],
    }


def test_an_empty_list_is_not_absent() -> None:
    assert shape({"Entrypoint": []}, ContainerCreateBody) == {"Entrypoint": []}


@pytest.mark.parametrize("field", ["Cmd", "Entrypoint"])
def test_words_may_be_one_string(field: str) -> None:
    assert shape({field: "echo hi"}, ContainerCreateBody) == {field: ["echo hi"]}


def test_unknown_fields_are_dropped_or_refused() -> None:
    body = {"Image": "x", "HostConfig": {"Magic": True}}
    assert shape(body, ContainerCreateBody) == {"Image": "x", "HostConfig": {}}
    with pytest.raises(InvalidArgument, match=r"unknown field HostConfig\.Magic"):
        shape(body, ContainerCreateBody, strict=True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "body: expected an object, got a list"),
        ({"Image": 5}, "Image: expected a string, got a number"),
        ({"Tty": "yes"}, "Tty: expected true or false, got a string"),
        ({"Tty": 1}, "Tty: expected true or false, got a number"),
        ({"Cmd": [5]}, "Cmd: expected a string, got a number"),
        ({"Cmd": {}}, "Cmd: expected a list, got an object"),
        ({"Labels": ["a"]}, "Labels: expected an object, got a list"),
        ({"Labels": {"a": 1}}, r"Labels\[a\]: expected a string, got a number"),
        ({"HostConfig": {"Memory": 1.5}}, "HostConfig.Memory: expected a whole number, got a number"),
        ({"HostConfig": {"Memory": True}}, "HostConfig.Memory: expected a whole number, got a boolean"),
        ({"HostConfig": {"Memory": 2**63}}, "HostConfig.Memory: 9223372036854775808 does not fit in 64 bits"),
        ({"HostConfig": {"Mounts": [{"Type": 1}]}}, "HostConfig.Mounts.Type: expected a string"),
    ],
)
def test_wrong_types_are_refused_by_name(body: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        shape(body, ContainerCreateBody)


def test_lone_surrogates_become_text() -> None:
    (word,) = shape({"Cmd": ["\ud800x"]}, ContainerCreateBody)["Cmd"]
    assert word.encode() == "\ufffdx".encode()


def test_a_list_without_measure_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="more than"):
        shape({"Env": ["a"] * 100_001}, ContainerCreateBody)


@given(st.dictionaries(KEYS, ANYTHING, max_size=4), st.booleans())
def test_whatever_is_sent_is_shaped_or_refused(body: dict[str, Any], strict: bool) -> None:
    for kind in (ContainerCreateBody, ContainerUpdateBody, ExecCreateBody, NetworkCreateBody):
        try:
            shaped = shape(body, kind, strict=strict)
        except InvalidArgument:
            continue
        assert set(shaped) <= set(kind.__annotations__) | set(ContainerCreateBody.__annotations__)
        json.dumps(shaped).encode()
        assert shape(shaped, kind, strict=True) == shaped


@pytest.mark.parametrize(
    "data", [b"{", b"{'a': 1}", b'{"a": NaN}', b'{"a": Infinity}', b"{} {}", b"[" * 100_000, b"\xff\xfe{}"]
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="invalid JSON"):
        load_json(data)


def test_no_body_is_none() -> None:
    assert load_json(b"") is None
    assert load_json(b" \r\n") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("1", "true", "True", "yes", "x")),
        *((text, False) for text in ("0", "", "false", "FALSE", "no", "none", " 0 ")),
    ],
)
def test_booleans_of_a_query(text: str, value: bool) -> None:
    assert Query([("k", text)]).flag("k") is value
    assert Query([]).flag("k", value) is value


@pytest.mark.parametrize("text", ["x", "1.5", "0x10", "1" * 30, "9223372036854775808", "١"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid value for k"):
        Query([("k", text)]).integer("k")


def test_numbers_of_a_query() -> None:
    query = Query([("a", "5"), ("a", "6"), ("b", "-1"), ("c", "")])
    assert (query.integer("a"), query.integer("b"), query.integer("c"), query.integer("d")) == (
        5,
        -1,
        None,
        None,
    )
    assert query.texts("a") == ["5", "6"]
    assert query.keys() == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("null", {}),
        ("{}", {}),
        ('{"a": ["x", "y"]}', {"a": ["x", "y"]}),
        ('{"a": {"x": true, "y": false}}', {"a": ["x"]}),
        ('{"a": null, "b": []}', {"b": []}),
    ],
)
def test_filters_in_both_spellings(text: str, value: dict[str, list[str]]) -> None:
    assert Query([("filters", text)]).filters() == value


@pytest.mark.parametrize("text", ["{", "[]", "5", '{"a": "x"}', '{"a": [1]}', '{"a": {"x": 1}}'])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid filter"):
        Query([("filters", text)]).filters()


@given(st.text(max_size=50))
def test_any_query_is_read_or_refused(text: str) -> None:
    query = parse_query(text)
    for key in sorted(query.keys()):
        query.flag(key)
        query.text(key).encode("utf-8", "surrogatepass")


def test_a_query_without_measure_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="the query cannot be read"):
        parse_query("a=1&" * 2000)


@pytest.mark.parametrize(
    ("path", "version", "rest"),
    [
        ("/info", (1, 47), "/info"),
        ("/v1.24/info", (1, 24), "/info"),
        ("/v1.47/containers/v1.1/json", (1, 47), "/containers/v1.1/json"),
        ("/v1/info", (1, 47), "/v1/info"),
        ("/vx.y/info", (1, 47), "/vx.y/info"),
    ],
)
def test_versions_are_split_off(path: str, version: tuple[int, int], rest: str) -> None:
    assert split_version(path) == (version, rest)


@pytest.mark.parametrize(
    "path", ["/v1.48/info", "/v2.0/info", "/v1.23/info", "/v0.9/info", "/v1.9999999999/info"]
)
def test_versions_out_of_range_are_refused(path: str) -> None:
    with pytest.raises(InvalidArgument, match=r"(?i)client version|API version"):
        split_version(path)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [("/a//b", "/a/b"), ("//a", "/a"), ("/a%2Fb", "/a/b"), ("/a/../b", "/a/../b"), ("/%ff", "/\ufffd")],
)
def test_paths_are_decoded_and_never_resolved(raw: str, clean: str) -> None:
    assert clean_path(raw) == clean
