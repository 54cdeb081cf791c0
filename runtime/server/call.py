"""One request, taken apart for its handler.

Owns the reading of bodies. Knows no endpoint.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING, Any

from aiohttp import web

from runtime.api.errors import InvalidArgument
from runtime.server.decode import Query, load_json

if TYPE_CHECKING:
    from runtime.engine import Engine
    from runtime.server.connection import Connection

JSON_BYTES = 4 << 20  # of a JSON body


@dataclass(slots=True)
class Call:
    """What a handler gets."""

    engine: Engine
    request: web.BaseRequest
    connection: Connection
    operation: str  # the handler's name, which the policy knows it by
    params: dict[str, str]  # from the path
    query: Query
    version: tuple[int, int]  # of the API, as the path asks
    confined: bool  # came through web.sock
    headers: dict[str, str]  # that every answer carries
    body: Any = None  # shaped JSON, for routes that take it
    about: str = ""  # id of the container it was judged as being about; confined calls only

    @property
    def ref(self) -> str:
        return self.params["ref"]

    def upload(self) -> AsyncGenerator[bytes, None]:
        """The request's body as it comes, for routes that stream it.

        Raises: InvalidArgument when it is cut short.
        """
        return read_chunks(self.request)


async def read_json(request: web.BaseRequest) -> Any:
    """The request's JSON body; None when there is none.

    Raises: InvalidArgument.
    """
    declared = request.content_length
    if declared is not None and declared > JSON_BYTES:
        raise InvalidArgument(f"request body too large: {declared} bytes, at most {JSON_BYTES} are read")
    data = bytearray()
    async for chunk in read_chunks(request):
        data += chunk
        if len(data) > JSON_BYTES:
            raise InvalidArgument(f"request body too large: at most {JSON_BYTES} bytes are read")
    if data:
        _check_json_type(request.headers.get("Content-Type", ""))
    return load_json(bytes(data))


async def read_chunks(request: web.BaseRequest) -> AsyncGenerator[bytes, None]:
    """The body as it arrives.

    Raises: InvalidArgument when it is cut short.
    """
    await welcome_body(request)
    try:
        while chunk := await request.content.readany():
            yield chunk
    except (web.RequestPayloadError, ConnectionError) as error:
        raise InvalidArgument(f"the request body was cut short: {error}") from None


async def welcome_body(request: web.BaseRequest) -> None:
    """Tell a client that asked first that its body will be read."""
    if request.headers.get("Expect", "").lower() == "100-continue" and not request.content.is_eof():
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # or aiohttp takes it for the answer's beginning


def _check_json_type(content_type: str) -> None:
    if not content_type.strip():
        raise InvalidArgument("malformed Content-Type header (): mime: no media type")
    message = Message()
    message["Content-Type"] = content_type
    if message.get_content_type() != "application/json":
        raise InvalidArgument(
            f"unsupported Content-Type header ({content_type[:100]}): must be 'application/json'"
        )
