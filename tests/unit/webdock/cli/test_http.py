"""The small HTTP client against a real server on a unix socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from webdock.cli.errors import Failure
from webdock.cli.http import Client, Refused, Unreachable, encode_query, find_host, image_segment, segment


class OneAnswer:
    """A server that takes one connection, keeps the request, and answers with fixed bytes."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.request = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._answer = answer
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            while b"\r\n\r\n" not in self.request:
                self.request += connection.recv(65536)
            connection.sendall(self._answer)

    def close(self) -> None:
        self._thread.join(5)
        self._listener.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[object]:
    servers: list[OneAnswer] = []

    def start(answer: bytes) -> tuple[Client, OneAnswer]:
        path = tmp_path / f"{len(servers)}.sock"
        servers.append(OneAnswer(path, answer))
        return Client(f"unix://{path}", {}), servers[-1]

    yield start
    for server in servers:
        server.close()


def answer(status: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def test_a_get_gives_decoded_json(serve) -> None:
    client, server = serve(answer("200 OK", {"a": [1]}))
    assert client.get("/x", {"all": True, "none": None, "f": {"k": ["v"]}}) == {"a": [1]}
    assert server.request.startswith(b"GET /x?all=1&f=%7B%22k%22%3A+%5B%22v%22%5D%7D HTTP/1.1\r\n")


def test_a_refusal_carries_status_and_the_engines_words(serve) -> None:
    client, _ = serve(answer("404 Not Found", {"message": "No such container: x"}))
    with pytest.raises(Refused, match="No such container: x") as caught:
        client.get("/containers/x/json")
    assert caught.value.status == 404


def test_a_refusal_without_json_is_still_one_line(serve) -> None:
    client, _ = serve(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(Refused, match="Bad Gateway"):
        client.get("/")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 302 Found\r\nLocation: /login/\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n",
    ],
)
def test_a_web_page_is_no_engine(serve, head: bytes) -> None:
    client, _ = serve(head + b"Content-Length: 6\r\n\r\n<html>")
    with pytest.raises(Failure, match=r"is no engine: .*--host, WEBDOCK_HOST"):
        client.get("/containers/json")


def test_an_engine_that_lacks_the_endpoint_is_said_to_be_of_another_version(serve) -> None:
    client, _ = serve(answer("404 Not Found", {"message": "page not found"}))
    with pytest.raises(Refused, match=r"does not know GET /volumes/x/archive: it is of another version"):
        client.get("/volumes/x/archive")


@pytest.mark.parametrize(
    "rest",
    [b'Transfer-Encoding: chunked\r\n\r\n10\r\n{"a"', b'Transfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}'],
)
def test_an_answer_that_breaks_off_is_told(serve, rest: bytes) -> None:
    client, _ = serve(b"HTTP/1.1 200 OK\r\n" + rest)
    with pytest.raises(Unreachable, match="went away before its answer was whole"):
        list(client.stream("GET", "/events"))


def test_a_json_stream_is_cut_at_values_not_at_reads(serve) -> None:
    body = b'{"a":1}{"b":"\xc3\xbc"}\r\n{"c":\n3}'
    chunked = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in body) + b"0\r\n\r\n"
    client, _ = serve(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked)
    assert list(client.stream("GET", "/events")) == [{"a": 1}, {"b": "ü"}, {"c": 3}]


def test_an_upgraded_stream_has_the_bytes_that_came_with_the_head(serve) -> None:
    client, _ = serve(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly")
    stream = client.hijack("/attach")
    assert stream.read() == b"early"
    assert stream.read() == b""
    stream.close()


def test_a_missing_socket_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="webdock up"):
        Client(f"unix://{tmp_path}/none.sock", {}).get("/_ping")


def test_a_dead_socket_says_how_to_start(tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.close()
    with pytest.raises(Unreachable, match="nobody listens"):
        Client(f"unix://{path}", {}).get("/_ping")


def test_hosts_come_from_the_variables_in_order() -> None:
    assert find_host({}) == "unix:///run/webdock/engine.sock"
    assert find_host({"WEBDOCK_RUN": "/r"}) == "unix:///r/engine.sock"
    assert find_host({"DOCKER_HOST": "tcp://d:1", "WEBDOCK_RUN": "/r"}) == "tcp://d:1"
    assert find_host({"WEBDOCK_HOST": "tcp://w:1", "DOCKER_HOST": "tcp://d:1"}) == "tcp://w:1"


@pytest.mark.parametrize("host", ["", "nonsense", "unix://", "ftp://x", "ssh://x"])
def test_what_is_no_address_is_refused(host: str) -> None:
    with pytest.raises(Failure, match="is no engine"):
        Client(host, {})


def test_names_cannot_leave_their_segment() -> None:
    assert segment("a/../b?x=1") == "a%2F..%2Fb%3Fx%3D1"
    assert image_segment("host:5000/a/b@sha256:c") == "host:5000/a/b@sha256:c"
    assert image_segment("a?b") == "a%3Fb"
    with pytest.raises(Failure, match="empty name"):
        segment("")


def test_queries_leave_out_what_is_not_said() -> None:
    assert encode_query({"a": False, "b": None, "c": True, "d": 0, "e": ["x", "y"]}) == "c=1&d=0&e=x&e=y"
