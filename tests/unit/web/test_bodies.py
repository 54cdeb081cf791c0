"""Long bodies: the same bytes, in pieces that outlive the file they are views of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from webdock.bodies import MappedBody


@pytest.mark.parametrize("size", [1, 99, 100, 101, 1000])
def test_a_mapped_body_gives_its_bytes_in_pieces(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    file = (tmp_path / "body").open("w+b")
    file.write(content)
    body = MappedBody(file)
    body.seek(0, 0)
    pieces = []
    while piece := body.read(100):
        pieces.append(piece)
    assert not body.closed
    body.close()
    assert body.closed
    assert b"".join(pieces) == content
    assert all(len(piece) == 100 for piece in pieces[:-1])
