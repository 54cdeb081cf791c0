"""Plain HTTP to an engine, for promises about status, headers and bytes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

WAIT_S = 60.0
UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]  # lower case
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The text of a refusal."""
        value = self.json()
        assert set(value) == {"message"}, value
        return str(value["message"])


class Api:
    def __init__(self, socket: str) -> None:
        self.socket = socket
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        url = URL("http://engine" + path, encoded=True)
        async with asyncio.timeout(WAIT_S):
            async with self._session.request(method, url, json=json, data=data, headers=headers) as response:
                body = await response.read()
                return Answer(
                    response.status, {key.lower(): value for key, value in response.headers.items()}, body
                )

    async def raw(self, data: bytes, *, half_close: bool = False) -> bytes:
        """Everything the engine says to these bytes until it closes, or says nothing for a moment."""
        wire = await Wire.open(self.socket)
        try:
            wire.writer.write(data)
            if half_close:
                wire.writer.write_eof()
            return await wire.rest()
        finally:
            wire.close()

    async def hijack(
        self, path: str, body: Any = None, *, headers: dict[str, str] | None = None, method: str = "POST"
    ) -> Wire:
        """A connection whose answer's head has been read; ``wire.head`` is that head."""
        wire = await Wire.open(self.socket)
        data = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: engine", f"Content-Length: {len(data)}"]
        lines += [f"{key}: {value}" for key, value in (UPGRADE if headers is None else headers).items()]
        if body is not None:
            lines.append("Content-Type: application/json")
        wire.writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        async with asyncio.timeout(WAIT_S):
            wire.head = (await wire.reader.readuntil(b"\r\n\r\n")).decode()
        return wire


class Wire:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = ""

    @classmethod
    async def open(cls, socket: str) -> Wire:
        return cls(*await asyncio.open_unix_connection(socket))

    async def until(self, text: bytes) -> bytes:
        """Output up to and with ``text``."""
        async with asyncio.timeout(WAIT_S):
            return await self.reader.readuntil(text)

    async def rest(self) -> bytes:
        """Output until the engine closes."""
        async with asyncio.timeout(WAIT_S):
            return await self.reader.read()

    def close(self) -> None:
        self.writer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def frames(data: bytes) -> dict[int, bytes]:
    """The payloads of multiplexed bytes by stream."""
    out: dict[int, bytes] = {1: b"", 2: b""}
    at = 0
    while at < len(data):
        source, size = data[at], int.from_bytes(data[at + 4 : at + 8], "big")
        assert data[at + 1 : at + 4] == b"\0\0\0", data[at : at + 8]
        out[source] += data[at + 8 : at + 8 + size]
        at += 8 + size
    assert at == len(data), "the stream ends inside a frame"
    return out
