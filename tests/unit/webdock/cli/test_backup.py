"""What a backup does not take on, and how tar's words and exit codes are read."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from webdock.cli import backup
from webdock.cli.errors import Failure

LAST = "tar: Error is not recoverable: exiting now"


@pytest.fixture
def fake_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Put a tar in the path that says something and ends with a code."""

    def put(says: str, code: int) -> None:
        (tmp_path / "tar").write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {code}\n")
        (tmp_path / "tar").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return put


def test_a_file_that_changed_meanwhile_is_no_failure(fake_tar: Callable[[str, int], None]) -> None:
    fake_tar("tar: volumes/x/log: file changed as we read it", 1)
    backup.archive(Path("/b.tar"), [], (0, 1))
    with pytest.raises(Failure, match=r"/b\.tar: tar failed: volumes/x/log: file changed"):
        backup.archive(Path("/b.tar"), [])


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("tar: /x: Cannot open: Permission denied\ntar: Error is not recoverable: exiting now", "Permission"),
        (
            "tar: /b.tar: Wrote only 6144 of 10240 bytes\ntar: Error is not recoverable: exiting now",
            "No space",
        ),
        ("", "exit code 2"),
    ],
)
def test_the_reason_is_told_not_tars_last_words(
    fake_tar: Callable[[str, int], None], says: str, reason: str
) -> None:
    fake_tar(says, 2)
    with pytest.raises(Failure, match=rf"^/b\.tar: tar failed: .*{reason}"):
        backup.archive(Path("/b.tar"), [], (0, 1))


def test_a_packer_that_is_missing_is_named_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failure, match=r"b\.tar\.zst takes the program zstd, which is not installed"):
        backup.archive(tmp_path / "b.tar.zst", ["--create"])


@pytest.mark.parametrize(("verb", "tool"), [(backup.backup, "pg_dump"), (backup.restore, "pg_restore")])
def test_accounts_in_postgresql_are_left_to_its_own_tools(
    monkeypatch: pytest.MonkeyPatch, verb: Callable[[argparse.Namespace], int], tool: str
) -> None:
    monkeypatch.setattr(backup, "need_root", lambda verb: None)
    monkeypatch.setenv("WEBDOCK_DATABASE_URL", "postgresql://db/webdock")
    with pytest.raises(Failure, match=f"WEBDOCK_DATABASE_URL is set.*use {tool} for it"):
        verb(argparse.Namespace())
