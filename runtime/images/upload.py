"""Uploading to a registry: what is missing, from the nearest place it can come from.

Owns one blob's way up: mounted from another repository, in one piece, or in chunks that can be continued.

Spec: OCI distribution 1.1, "Pushing blobs" and "Mounting a blob from another repository".
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from runtime.images.answers import RegistryAnswer
from runtime.images.content import Descriptor
from runtime.images.reference import Digest
from runtime.images.registry import Repository, patiently, pause
from runtime.images.threads import in_thread
from runtime.images.transport import Refused, Unreachable

READ_BYTES = 1 << 18
WHOLE_MAX_BYTES = 4 << 20  # up to here in one request
CHUNK_BYTES = 32 << 20  # what a broken connection costs at most

Progress = Callable[[int], None]  # bytes of the blob that are up there


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an upload goes on, and at which byte."""

    url: str
    offset: int


class Uploader:
    """Uploads blobs and manifests to one repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def has(self, digest: Digest) -> bool:
        return await self._repository.exists("blobs", digest) is not None

    async def mount(self, digest: Digest, source: str) -> bool:
        """Have the registry take a blob over from another of its repositories; whether it did.

        An upload it opens instead is cancelled.
        """
        query = urlencode({"mount": digest, "from": source})
        try:
            async with self._repository.request(
                "POST", f"blobs/uploads/?{query}", data=lambda: b""
            ) as answer:
                if answer.status == 201:
                    return True
                location = self._location(answer)
        except RegistryAnswer:
            return False
        try:
            async with self._repository.request("DELETE", location):
                pass
        except (RegistryAnswer, Unreachable, Refused):
            pass  # it runs out by itself
        return False

    async def blob(self, described: Descriptor, descriptor: int, progress: Progress) -> None:
        """Upload a blob from an open file.

        Raises: RegistryAnswer, Unreachable, Refused.
        """
        transport = self._repository.session.transport
        place = await patiently(transport, self._begin)
        attempt = 0
        while True:
            before = place.offset
            try:
                while described.size - place.offset > WHOLE_MAX_BYTES:
                    place = await self._chunk(place, described, descriptor, progress)
                await self._finish(place, described, descriptor)
                progress(described.size)
                return
            except (RegistryAnswer, Unreachable) as error:
                attempt = 1 if place.offset > before else attempt + 1
                pause_s = pause(transport, error, attempt)
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)
            place = await self._resume(place)

    async def manifest(self, reference: str, data: bytes, media_type: str) -> None:
        """Raises: RegistryAnswer, Unreachable, Refused."""

        async def once() -> None:
            async with self._repository.request(
                "PUT", f"manifests/{reference}", headers={"Content-Type": media_type}, data=lambda: data
            ):
                pass

        await patiently(self._repository.session.transport, once)

    # -- steps of one upload

    async def _begin(self) -> _Place:
        async with self._repository.request("POST", "blobs/uploads/", data=lambda: b"") as answer:
            return _Place(self._location(answer), 0)

    async def _chunk(
        self, place: _Place, described: Descriptor, descriptor: int, progress: Progress
    ) -> _Place:
        end = min(place.offset + CHUNK_BYTES, described.size)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - place.offset),
            "Content-Range": f"{place.offset}-{end - 1}",
        }
        async with self._repository.request(
            "PATCH",
            place.url,
            headers=headers,
            data=lambda: _read(descriptor, place.offset, end, progress),
            follow=False,
        ) as answer:
            return _Place(self._location(answer), end)

    async def _finish(self, place: _Place, described: Descriptor, descriptor: int) -> None:
        glue = "&" if URL(place.url).query_string else "?"
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(described.size - place.offset),
        }
        async with self._repository.request(
            "PUT",
            f"{place.url}{glue}digest={quote(described.digest)}",
            headers=headers,
            data=lambda: _read(descriptor, place.offset, described.size, lambda _: None),
            follow=False,
        ):
            pass

    async def _resume(self, place: _Place) -> _Place:
        """Ask how much of a broken upload arrived; begin anew when the registry does not know it any more."""
        try:
            async with self._repository.request("GET", place.url) as answer:
                last = answer.headers.get("Range", "").rpartition("-")[2]
                offset = int(last) + 1 if last.isdigit() and last != "0" else 0
                return _Place(self._location(answer) or place.url, offset)
        except (RegistryAnswer, Unreachable):
            return await patiently(self._repository.session.transport, self._begin)

    def _location(self, answer: aiohttp.ClientResponse) -> str:
        location = answer.headers.get("Location", "")
        if not location:
            raise Refused(f"registry {self._repository.session.endpoint.host} does not say where to upload")
        return str(answer.url.join(URL(location, encoded=True)))


async def _read(descriptor: int, start: int, end: int, progress: Progress) -> AsyncIterator[bytes]:
    at = start
    while at < end:
        piece = await in_thread(os.pread, descriptor, min(READ_BYTES, end - at), at)
        if not piece:
            raise OSError("the blob was cut short on disk")
        yield piece
        at += len(piece)
        progress(at)
