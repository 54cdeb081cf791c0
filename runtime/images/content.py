"""Blobs by digest, in an OCI image layout that other tools can read.

    images/oci-layout  index.json  blobs/sha256/<hex>      the layout; index.json is written by ``store.py``
    images/ingest/sha256-<hex>.partial                     what came of a blob so far

A blob appears under ``blobs/`` by rename, after its length and digest were verified; it is never changed.
Never knows names or tags. Calls block; long ones are for threads.

Spec: OCI image 1.1, image-layout.md.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.api.errors import Internal, InvalidArgument, NotFound
from runtime.images.reference import Digest

READ_BYTES = 1 << 20
DOCUMENT_MAX_BYTES = 8 << 20  # of a manifest, index or configuration
LAYOUT_VERSION = "1.0.0"
_PARTIAL = ".partial"


class BlobInvalid(InvalidArgument):
    """The bytes are not the ones that were named."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of a blob."""

    media_type: str
    digest: Digest
    size: int

    def to_json(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


def digest_of(data: bytes) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")


class ContentStore:
    """The blobs of one engine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs"
        self._ingest = root / "ingest"

    def prepare(self) -> None:
        """Make the layout; idempotent."""
        for directory in (self.root, self._blobs / "sha256", self._ingest):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        layout = self.root / "oci-layout"
        if not layout.exists():
            replace_file(layout, json.dumps({"imageLayoutVersion": LAYOUT_VERSION}).encode())

    def path(self, digest: Digest) -> Path:
        algorithm, _, value = digest.partition(":")
        return self._blobs / algorithm / value

    def has(self, digest: Digest) -> bool:
        return self.path(digest).exists()

    def size(self, digest: Digest) -> int:
        """Raises: NotFound."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise NotFound(f"no such blob: {digest}") from None

    def blobs(self) -> Iterator[tuple[Digest, int]]:
        """Every blob with its size."""
        for algorithm in sorted(self._blobs.iterdir()):
            for file in algorithm.iterdir():
                if file.name.startswith("."):
                    continue  # on its way to its name
                yield Digest(f"{algorithm.name}:{file.name}"), file.stat().st_size

    def read(self, digest: Digest) -> bytes:
        """A document (manifest, index, configuration), verified. Raises: NotFound, Internal."""
        size = self.size(digest)
        if size > DOCUMENT_MAX_BYTES:
            raise Internal(f"blob {digest} is {size} bytes long, too long for a document")
        data = self.path(digest).read_bytes()
        if hashlib.new(digest.partition(":")[0], data).hexdigest() != digest.partition(":")[2]:
            raise Internal(f"blob {digest} is damaged on disk")
        return data

    def write(self, data: bytes, verified: Digest | None = None) -> Digest:
        """Keep a document, under a digest that was verified before or its sha256."""
        digest = verified or digest_of(data)
        if not self.has(digest):
            replace_file(self.path(digest), data)
        return digest

    def remove(self, digest: Digest) -> None:
        """Forget a blob and what is kept of it; idempotent."""
        self.path(digest).unlink(missing_ok=True)
        self.partial(digest).unlink(missing_ok=True)

    def verify(self, digest: Digest) -> bool:
        """Whether the bytes on disk still are what their name says; reads them all."""
        algorithm, _, value = digest.partition(":")
        try:
            with open(self.path(digest), "rb") as file:
                return hashlib.file_digest(file, algorithm).hexdigest() == value
        except OSError:
            return False

    # -- arriving blobs

    def partial(self, digest: Digest) -> Path:
        return self._ingest / (digest.replace(":", "-") + _PARTIAL)

    def partials(self) -> Iterator[tuple[Digest | None, Path]]:
        """What is kept of unfinished blobs; None for those whose digest is not known yet."""
        for file in self._ingest.iterdir():
            name = file.name.removesuffix(_PARTIAL)
            known = name != file.name and "-" in name and not name.startswith("new-")
            yield Digest(name.replace("-", ":", 1)) if known else None, file

    def torn(self) -> list[Path]:
        """What ``replace_file`` had written of files when the engine ended."""
        places = (self.root, *(path for path in self.root.iterdir() if path.is_dir()), *self._blobs.iterdir())
        return [file for place in places for file in place.iterdir() if file.name.startswith(".")]

    def ingest(self, digest: Digest | None = None, size: int | None = None) -> Ingest:
        """Take in a blob, or go on with what is kept of it. Reads what is kept: use a thread."""
        path = self._ingest / f"new-{secrets.token_hex(8)}" if digest is None else self.partial(digest)
        return Ingest(self, path, digest, size)


class Ingest:
    """One blob on its way in. Bytes are appended by one thread at a time."""

    def __init__(self, store: ContentStore, path: Path, digest: Digest | None, size: int | None) -> None:
        self._store = store
        self._path = path
        self.digest = digest
        self._size = size
        self._hash = hashlib.new(digest.partition(":")[0] if digest else "sha256")
        self._lock = threading.Lock()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.offset = 0  # bytes that are on disk
        try:
            self._take_up()
        except BaseException:
            os.close(self._descriptor)
            raise

    def take_up(self) -> None:
        """Take into account what somebody else has written to ``descriptor``."""
        with self._lock:
            self._take_up()

    @property
    def descriptor(self) -> int:
        """For a writer that is not this process; ``take_up`` follows."""
        return self._descriptor

    def _take_up(self) -> None:
        while data := os.pread(self._descriptor, READ_BYTES, self.offset):
            self._hash.update(data)
            self.offset += len(data)
        if self._size is not None and self.offset > self._size:
            self._restart()

    def _restart(self) -> None:
        os.ftruncate(self._descriptor, 0)
        self.offset = 0
        self._hash = hashlib.new(self.digest.partition(":")[0] if self.digest else "sha256")

    def restart(self) -> None:
        """Begin anew: what is kept cannot be continued."""
        with self._lock:
            self._restart()

    def open(self) -> int:
        """A descriptor of its own for reading what is there."""
        return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def append(self, chunks: Iterable[bytes | memoryview]) -> None:
        """Raises: BlobInvalid when there is more than was announced; OSError."""
        with self._lock:
            for chunk in chunks:
                if self._size is not None and self.offset + len(chunk) > self._size:
                    raise BlobInvalid(
                        f"blob {self.digest} is longer than the {self._size} bytes its manifest says"
                    )
                view = memoryview(chunk)
                while len(view):
                    count = os.pwrite(self._descriptor, view, self.offset)
                    self._hash.update(view[:count])
                    self.offset += count
                    view = view[count:]

    @property
    def found(self) -> Digest:
        """The digest of what has come so far."""
        return Digest(f"{self._hash.name}:{self._hash.hexdigest()}")

    def commit(self) -> Descriptor:
        """Verify and make the blob appear. Raises: BlobInvalid; the bytes are gone then."""
        with self._lock:
            found = self.found
            if self._size is not None and self.offset != self._size:
                self._discard()
                raise BlobInvalid(
                    f"blob {self.digest} is {self.offset} bytes long, its manifest says {self._size}"
                )
            if self.digest is not None and found != self.digest:
                self._discard()
                raise BlobInvalid(
                    f"filesystem layer verification failed for digest {self.digest}: got {found}"
                )
            target = self._store.path(found)
            target.parent.mkdir(exist_ok=True, mode=0o700)
            os.rename(self._path, target)
            self._close()
            return Descriptor("", found, self.offset)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _discard(self) -> None:
        self._path.unlink(missing_ok=True)
        self._close()

    def keep(self) -> None:
        """Stop; what is there stays for the next try. Does nothing after ``commit``."""
        with self._lock:
            if self._descriptor >= 0 and (self.digest is None or not self.offset):
                self._discard()
            self._close()

    def discard(self) -> None:
        """Stop and throw away what is there. Does nothing after ``commit``."""
        with self._lock:
            if self._descriptor >= 0:
                self._discard()


def replace_file(path: Path, data: bytes) -> None:
    """Write ``path`` so that it has the old or the new content, whatever happens; and the new one lasts."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while len(view):
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def is_full(error: OSError) -> bool:
    """Whether this error means that the disk has no room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
