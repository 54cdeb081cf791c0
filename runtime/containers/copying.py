"""One copying process: `tarbox` started for a job, its report read, its archive carried.

Owns the process and its pipes. Knows no containers and no volumes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from runtime.api.errors import EngineError, Forbidden, Internal, InvalidArgument, NotFound

CHUNK_BYTES = 256 << 10  # handed on at once
FIRST_WORD_TIMEOUT_S = 60.0  # until the process has found the path, or not
CLEAN_UP_TIMEOUT_S = 5.0  # for the file that a cut archive left half
ERROR_BYTES = 2000  # of what it says on standard error
WRITING = ("get", "export", "list")  # jobs whose answer comes over standard output

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = (
    "import sys, json; sys.path.insert(0, sys.argv[1]); from runtime.containers.tarbox import main; "
    "sys.exit(main(json.loads(sys.argv[2]), open(int(sys.argv[3]), 'wb')))"
)
_ERRORS: dict[str, type[EngineError]] = {
    "invalid": InvalidArgument,
    "forbidden": Forbidden,
    "internal": Internal,
}

Body = dict[str, Any]


class Work:
    """One copying process."""

    def __init__(
        self, process: asyncio.subprocess.Process, report: asyncio.StreamReader, transport: Any
    ) -> None:
        self._process = process
        self._report = report
        self._transport = transport

    @classmethod
    async def start(cls, job: Body) -> Work:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        words = [sys.executable, "-I", "-c", _PROGRAM, str(_ROOT), json.dumps(job), str(writing)]
        if job["binds"]:
            words = ["unshare", "--mount", "--propagation", "private", "--", *words]
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=subprocess.PIPE if job["work"] == "put" else subprocess.DEVNULL,
                stdout=subprocess.PIPE if job["work"] in WRITING else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(writing,),
                limit=CHUNK_BYTES,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        report = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(report), os.fdopen(reading, "rb")
        )
        return cls(process, report, transport)

    async def first_word(self, missing: str) -> Body:
        """What it found, before any data. Raises: what it reports."""
        try:
            async with asyncio.timeout(FIRST_WORD_TIMEOUT_S):
                line = await self._report.readline()
        except TimeoutError:
            raise Internal(f"the files did not answer within {FIRST_WORD_TIMEOUT_S:g} s") from None
        found: Body = await self._parse(line, missing)
        return found

    async def output(self, stack: AsyncExitStack) -> AsyncGenerator[bytes, None]:
        """The archive; what the stack holds is given back at its end."""
        async with stack:
            assert self._process.stdout is not None
            while data := await self._process.stdout.read(CHUNK_BYTES):
                yield data
            await self._finish("the file vanished")

    async def input(self, data: AsyncIterator[bytes], missing: str) -> None:
        """Hand an archive over and wait until it is extracted."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            async for chunk in data:
                stdin.write(chunk)
                await stdin.drain()
            stdin.close()
            await stdin.wait_closed()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has said why
        await self._finish(missing)

    async def end(self) -> None:
        """Kill it if it still works, and give everything back.

        One whose archive was cut off may first take away the file it had half written.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLEAN_UP_TIMEOUT_S):
                    await self._process.wait()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        if self._process.stdout is not None:
            # asyncio's wait returns when the end of each pipe was seen, and nobody reads this one any more.
            while await self._process.stdout.read(CHUNK_BYTES):
                pass
        await self._process.wait()
        self._transport.close()

    async def _finish(self, missing: str) -> None:
        """Raises: what went wrong after the first word."""
        if line := await self._report.readline():
            await self._parse(line, missing)
        if await self._process.wait() != 0:
            raise Internal(f"copying ended unexpectedly: {await self._complaint()}")

    async def _parse(self, line: bytes, missing: str) -> Body:
        if not line:
            raise Internal(f"copying did not begin: {await self._complaint()}")
        message = json.loads(line)
        if "error" not in message:
            found: Body = message["stat"]
            return found
        if message["error"] == "missing":
            raise NotFound(missing)
        raise _ERRORS[message["error"]](message["message"])

    async def _complaint(self) -> str:
        assert self._process.stderr is not None
        text = (await self._process.stderr.read(ERROR_BYTES)).decode(errors="replace").strip()
        return text.splitlines()[-1] if text else f"exit code {self._process.returncode}"
