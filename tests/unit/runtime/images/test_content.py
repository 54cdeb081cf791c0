from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from runtime.api.errors import Internal, NotFound
from runtime.images.content import BlobInvalid, ContentStore, digest_of, replace_file
from runtime.images.reference import Digest

DATA = b"content " * 1000
DIGEST = digest_of(DATA)


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    store = ContentStore(tmp_path / "images")
    store.prepare()
    return store


def files(content: ContentStore) -> set[str]:
    return {str(path.relative_to(content.root)) for path in content.root.rglob("*") if path.is_file()}


def test_prepare_makes_an_oci_layout_that_only_its_owner_can_read(content: ContentStore) -> None:
    content.prepare()
    assert json.loads((content.root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert content.root.stat().st_mode & 0o777 == 0o700


def test_a_blob_appears_when_it_is_whole_and_right(content: ContentStore) -> None:
    ingest = content.ingest(DIGEST, len(DATA))
    ingest.append([DATA[:100], memoryview(DATA)[100:]])
    assert not content.has(DIGEST)
    assert ingest.commit().digest == DIGEST
    assert content.path(DIGEST).read_bytes() == DATA
    assert content.verify(DIGEST)
    assert files(content) == {"oci-layout", f"blobs/sha256/{DIGEST[7:]}"}


def test_a_blob_goes_on_where_it_was_kept(content: ContentStore) -> None:
    ingest = content.ingest(DIGEST, len(DATA))
    ingest.append([DATA[:3000]])
    ingest.keep()
    ingest = content.ingest(DIGEST, len(DATA))
    assert ingest.offset == 3000
    ingest.append([DATA[3000:]])
    ingest.commit()
    assert content.has(DIGEST)


def test_a_reader_sees_the_blob_while_it_comes_and_after(content: ContentStore) -> None:
    ingest = content.ingest(DIGEST, len(DATA))
    reader = ingest.open()
    ingest.append([DATA[:10]])
    assert os.pread(reader, 100, 0) == DATA[:10]
    ingest.append([DATA[10:]])
    ingest.commit()
    assert os.pread(reader, len(DATA), 0) == DATA
    os.close(reader)


@pytest.mark.parametrize("data", [DATA[:-1] + b"x", DATA[:-1]])
def test_a_blob_that_lies_leaves_nothing(content: ContentStore, data: bytes) -> None:
    ingest = content.ingest(DIGEST, len(DATA))
    ingest.append([data])
    with pytest.raises(BlobInvalid):
        ingest.commit()
    assert files(content) == {"oci-layout"}


def test_more_than_announced_is_refused_at_once(content: ContentStore) -> None:
    ingest = content.ingest(DIGEST, len(DATA))
    with pytest.raises(BlobInvalid, match="longer than"):
        ingest.append([DATA, b"x"])
    ingest.discard()
    assert files(content) == {"oci-layout"}


def test_kept_bytes_beyond_the_announced_length_are_dropped(content: ContentStore) -> None:
    content.partial(DIGEST).write_bytes(DATA + b"more")
    assert content.ingest(DIGEST, len(DATA)).offset == 0


def test_content_without_a_name_gets_its_digest_and_is_never_kept_half(content: ContentStore) -> None:
    ingest = content.ingest()
    ingest.append([DATA])
    ingest.keep()
    assert files(content) == {"oci-layout"}
    ingest = content.ingest()
    ingest.append([DATA])
    assert ingest.commit().digest == DIGEST


def test_sha512_is_known(content: ContentStore) -> None:
    digest = Digest(f"sha512:{hashlib.sha512(DATA).hexdigest()}")
    ingest = content.ingest(digest, len(DATA))
    ingest.append([DATA])
    assert ingest.commit().digest == digest
    assert list(content.blobs()) == [(digest, len(DATA))]


def test_a_damaged_document_is_never_given_out(content: ContentStore) -> None:
    digest = content.write(b'{"a":1}')
    assert content.read(digest) == b'{"a":1}'
    content.path(digest).write_bytes(b'{"a":2}')
    assert not content.verify(digest)
    with pytest.raises(Internal, match="damaged"):
        content.read(digest)
    with pytest.raises(NotFound):
        content.read(DIGEST)


def test_replace_file_has_the_old_or_the_new_content(tmp_path: Path) -> None:
    target = tmp_path / "x"
    replace_file(target, b"old")
    (tmp_path / "blocked").mkdir()
    with pytest.raises(OSError):
        replace_file(tmp_path / "blocked", b"new")
    replace_file(target, b"new")
    assert target.read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blocked", "x"]
