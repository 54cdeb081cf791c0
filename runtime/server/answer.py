"""Answers: values to HTTP, whole or as streams, in the form Docker's clients expect.

Owns the encoding of JSON and the flushing of streams. Never decides what to answer.

Spec: Docker API 1.47, ErrorResponse.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from runtime.api.errors import EngineError
from runtime.api.frames import encode_line, frame_header

if TYPE_CHECKING:
    from runtime.server.call import Call

JSON = "application/json"
TAR = "application/x-tar"
RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"
LINES_VERSION = (1, 42)  # from here on multiplexed streams say what they are

T = TypeVar("T")


def encode_json(value: Any) -> bytes:
    """As Go writes it: compact, UTF-8, a newline at the end."""
    return encode_line(value)


def json_answer(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=encode_json(value), content_type=JSON)


def empty_answer(status: int = 204) -> web.Response:
    return web.Response(status=status)


def error_answer(status: int, message: str) -> web.Response:
    if status in (204, 304):
        return web.Response(status=status)
    return json_answer({"message": message}, status)


def refusal(error: EngineError) -> web.Response:
    """The answer an error travels as."""
    return error_answer(error.status, error.message)


def stream_type(call: Call, *, tty: bool) -> str:
    """The content type of a process's output: a client that did not ask for an upgrade is an old one."""
    if call.request.method == "POST" and "Upgrade" not in call.request.headers:
        return RAW_STREAM
    return MULTIPLEXED_STREAM if not tty and call.version >= LINES_VERSION else RAW_STREAM


async def begin(
    call: Call, content_type: str, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Send the head of a streamed answer at once."""
    response = web.StreamResponse(headers={**call.headers, "Content-Type": content_type, **(headers or {})})
    await response.prepare(call.request)
    return response


async def json_stream(
    call: Call, items: AsyncIterator[Any], *, wait_for_first: bool, end: bytes = b"\n"
) -> web.StreamResponse:
    """JSON documents, each sent as it comes; ends early when the client leaves.

    With ``wait_for_first`` an error before the first document becomes the answer's status.
    """
    async with AsyncExitStack() as stack:
        await _closing(stack, items)
        with call.connection.needed():
            first = await anext(items, None) if wait_for_first else None
            response = await begin(call, JSON)
            if first is not None:
                await response.write(encode_json(first)[:-1] + end)
            async for item in items:
                await response.write(encode_json(item)[:-1] + end)
            await response.write_eof()
            return response


async def progress_stream(
    call: Call, items: AsyncIterator[Any], *, begun: bool = False
) -> web.StreamResponse:
    """Progress of a pull, push, load or import; failures on the way are its last document.

    ``begun`` makes also the first failure such a document, instead of the answer's status.
    """
    return await json_stream(call, _ending_with_error(items, begun), wait_for_first=True, end=b"\r\n")


async def _ending_with_error(items: AsyncIterator[Any], begun: bool) -> AsyncGenerator[Any, None]:
    async with AsyncExitStack() as stack:
        await _closing(stack, items)
        try:
            async for item in items:
                begun = True
                yield item
        except EngineError as error:
            if not begun:
                raise
            yield {
                "errorDetail": {"code": error.status, "message": error.message},
                "error": error.message,
            }


async def byte_stream(
    call: Call, chunks: AsyncIterator[bytes], content_type: str, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Bytes as they come; an error before the first becomes the answer's status."""
    async with AsyncExitStack() as stack:
        await _closing(stack, chunks)
        # Begun even for nobody: what a generator holds is let go only by one that has begun.
        first = await anext(chunks, b"")
        with call.connection.needed():
            response = await begin(call, content_type, headers)
            if first:
                await response.write(first)
            async for chunk in chunks:
                await response.write(chunk)
            await response.write_eof()
            return response


async def output_stream(
    call: Call, chunks: AsyncIterator[tuple[int, bytes]], *, tty: bool
) -> web.StreamResponse:
    """A process's log: raw for a TTY, otherwise one frame per line, as Docker's clients iterate over it."""
    async with AsyncExitStack() as stack:
        await _closing(stack, chunks)
        with call.connection.needed():
            response = await begin(call, stream_type(call, tty=tty))
            async for source, data in chunks:
                await response.write(data if tty else _line_frames(source, data))
            await response.write_eof()
            return response


def _line_frames(source: int, data: bytes) -> bytes:
    if data.find(b"\n") in (-1, len(data) - 1):
        return frame_header(source, len(data)) + data
    pieces: list[bytes] = []
    lines = data.split(b"\n")
    for line in lines[:-1]:
        pieces += (frame_header(source, len(line) + 1), line, b"\n")
    if lines[-1]:
        pieces += (frame_header(source, len(lines[-1])), lines[-1])
    return b"".join(pieces)


async def later(call: Call, result: Awaitable[T], encode: Callable[[T], Any]) -> web.StreamResponse:
    """The head at once, one JSON document when the result is there; so the client knows that we wait."""
    with call.connection.needed():
        response = await begin(call, JSON)
        await response.write_eof(encode_json(encode(await result)))
        return response


async def _closing(stack: AsyncExitStack, items: AsyncIterator[Any]) -> None:
    """Close a generator with the answer, not when the collector finds it."""
    if isinstance(items, AsyncGenerator):
        await stack.enter_async_context(aclosing(items))
