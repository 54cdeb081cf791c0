"""Ctrl-C on a terminal amid pull, run and cp: exit code 130, the terminal as before, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.image_files import Image, Layer, file, sha256, tar
from tests.fakes.registry import FakeRegistry, hanging, sending
from tests.integration.installation import Installation, eventually
from tests.integration.pty_session import PtySession

Terminal = Callable[..., PtySession]
BUSYBOX = "webdock/busybox"
WEBDOCK = f"{sys.executable} -I -m webdock"
PART_BYTES = 1024**2  # of a layer that stops arriving there
ENDLESS_BYTES = 64 * 1024**3  # of a file that is one hole: copying it takes longer than the test


def watched(terminal: Terminal, tmp_path: Path, line: str) -> PtySession:
    """A command in a shell that says its exit code, and whether the terminal is as it was before."""
    script = (
        f"cd {tmp_path}; trap : INT; stty -a > before; {line}; code=$?; stty -a > after; "
        "cmp before after && echo code $code"
    )
    return terminal("/bin/sh", "-c", script, columns=120)


def interrupted(session: PtySession) -> None:
    session.type(b"\x03")
    session.expect(r"code 130\r\n")
    assert session.wait() == 0
    assert "Traceback" not in session.text


@pytest.mark.parametrize("verb", ["pull", "run --rm"])
@pytest.mark.parametrize("moment", ["manifest", "layer"])
async def test_while_an_image_is_fetched(
    installation: Installation, terminal: Terminal, tmp_path: Path, verb: str, moment: str
) -> None:
    first, second = (Layer(tar(file(name, os.urandom(2 * PART_BYTES)))) for name in ("a", "b"))
    image = Image([first, second], {"config": {"Cmd": ["/b"]}})
    registry = await FakeRegistry().start()
    try:
        registry.put("interrupted/one", "1", image)
        late = sha256(second.blob)
        if moment == "manifest":
            registry.fault("GET", "/manifests/", hanging())
        else:
            registry.fault("GET", late, sending(second.blob, pause_after=PART_BYTES))
        reference = f"{registry.host}/interrupted/one:1"
        session = watched(terminal, tmp_path, f"{WEBDOCK} {verb} {reference}")
        await registry.asked("GET", "/manifests/" if moment == "manifest" else late, timeout_s=30)
        if moment == "layer":
            await asyncio.to_thread(session.expect, "Pull complete")
        await asyncio.to_thread(interrupted, session)
        assert installation.client.get("/containers/json", {"all": True}) == []
        assert reference not in installation.webdock("images", "--format", "{{.Repository}}:{{.Tag}}").stdout
        # What had arrived is no hindrance.
        registry.heal()
        done = await asyncio.to_thread(installation.webdock, "pull", reference)
        assert "Downloaded newer image" in done.stdout
        installation.webdock("rmi", reference)
    finally:
        await registry.stop()


def test_while_a_file_is_copied_out(installation: Installation, terminal: Terminal, tmp_path: Path) -> None:
    hole = f"dd if=/dev/null of=/big bs=1 seek={ENDLESS_BYTES} 2>/dev/null; sleep 1000"
    installation.webdock("run", "-d", "--name", "box", BUSYBOX, "sh", "-c", hole)
    eventually(lambda: "A /big" in installation.webdock("diff", "box").stdout)
    (tmp_path / "big").write_text("old")
    session = watched(terminal, tmp_path, f"{WEBDOCK} cp box:/big big")
    eventually(lambda: any(part.stat().st_size for part in tmp_path.glob(".webdock-*")), what="a part of it")
    interrupted(session)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["after", "before", "big"]
    assert (tmp_path / "big").read_text() == "old"


def test_while_a_file_is_copied_in(installation: Installation, terminal: Terminal, tmp_path: Path) -> None:
    installation.webdock("run", "-d", "--name", "box", BUSYBOX, "sleep", "1000")
    archive = tar(file("big", bytes(3 * PART_BYTES)))
    os.mkfifo(tmp_path / "fifo")
    session = watched(terminal, tmp_path, f"{WEBDOCK} cp - box:/tmp < fifo")

    def inside() -> str:
        return installation.webdock("exec", "box", "ls", "/tmp").stdout

    with open(tmp_path / "fifo", "wb", buffering=0) as fifo:
        fifo.write(archive[: 2 * PART_BYTES])
        eventually(lambda: "big" in inside(), what="a part of it inside")
        interrupted(session)
    eventually(lambda: inside() == "", what="nothing of it inside")
