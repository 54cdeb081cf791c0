"""The runtimes' own verbs, and finding one that works."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from runtime import cgroups
from runtime.api.errors import Conflict, NotFound, Unavailable
from runtime.oci import runtime as module
from runtime.oci.process import ToolError, run
from runtime.oci.runtime import Runtime, probe

from .conftest import Yard, open_descriptors


async def test_the_preferred_runtime_is_chosen_when_it_works(tmp_path: Path) -> None:
    for name in ("crun", "runc"):
        found = await probe(name, tmp_path / "scratch", "/ociprobe")
        assert (found.name, found.reasons) == (name, ())
        assert found.version[0].isdigit()
        assert os.path.isabs(found.path)
    cgroups.remove("/ociprobe")
    assert os.listdir(tmp_path / "scratch") == []


async def test_a_runtime_that_cannot_run_is_passed_over_with_its_reason(tmp_path: Path) -> None:
    broken = tmp_path / "crun"
    broken.write_text("#!/bin/sh\necho 'hybrid cgroups are not for me' >&2\nexit 1\n")
    broken.chmod(0o755)
    found = await probe(str(broken), tmp_path / "scratch", "/ociprobe")
    assert found.name == "crun"
    assert found.path != str(broken)
    assert found.reasons == (f"{broken} cannot run a container here: hybrid cgroups are not for me",)
    cgroups.remove("/ociprobe")


async def test_no_working_runtime_is_told_with_all_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FALLBACKS", ("nosuchrunc",))
    with pytest.raises(Unavailable, match="nosuchcrun is not installed; nosuchrunc is not installed"):
        await probe("nosuchcrun", tmp_path, "/ociprobe")


async def test_unknown_containers_are_told_by_class(yard: Yard) -> None:
    runtime = yard.runtime
    assert await runtime.state("nosuch") is None
    assert await runtime.list_ids() == []
    await runtime.delete("nosuch")
    await runtime.delete("nosuch", force=True)
    for call in (runtime.kill("nosuch", 9), runtime.pids("nosuch")):
        with pytest.raises(NotFound):
            await call
    for call in (runtime.pause("nosuch"), runtime.resume("nosuch")):
        with pytest.raises(Conflict):
            await call


async def test_a_container_is_listed_signalled_and_forgotten(yard: Yard) -> None:
    handle = await yard.run("sleep", "100")
    runtime = yard.runtime
    assert await runtime.list_ids() == [handle.id]
    assert await runtime.pids(handle.id) == [handle.pid]
    await runtime.kill(handle.id, 0)
    await runtime.kill(handle.id, signal.SIGKILL, all=True)
    await yard.conmon.wait_exit(handle)
    with pytest.raises((Conflict, NotFound)):
        await runtime.kill(handle.id, signal.SIGTERM)
    state = await runtime.state(handle.id)
    assert state is None or state["status"] == "stopped"
    await runtime.delete(handle.id)
    assert await runtime.list_ids() == []
    assert not any(path.exists() for path in cgroups.detect().directories(f"{yard.cgroup}/{handle.id}"))


async def test_deleting_by_force_ends_everything_in_it(yard: Yard) -> None:
    handle = await yard.run("sh", "-c", "sleep 100 & sleep 100 & wait")
    await yard.runtime.delete(handle.id, force=True)
    assert (await yard.conmon.wait_exit(handle)).code == 137
    assert await yard.runtime.state(handle.id) is None


async def test_a_tool_that_hangs_is_killed_and_told() -> None:
    before = open_descriptors()
    with pytest.raises(ToolError, match="took longer than"):
        await run(["sleep", "100"], timeout_s=0.1)
    with pytest.raises(ToolError, match="nosuchtool is not there"):
        await run(["nosuchtool"])
    with pytest.raises(ToolError) as caught:
        await run(["sh", "-c", "seq 100 >&2; exit 3"])
    assert caught.value.code == 3
    assert caught.value.stderr.splitlines() == [str(n) for n in range(81, 101)]
    assert await run(["sh", "-c", "echo out; echo err >&2"]) == ("out\n", "err\n")
    assert open_descriptors() == before


async def test_two_state_directories_know_nothing_of_each_other(crun_yard: Yard, tmp_path: Path) -> None:
    handle = await crun_yard.run("sleep", "100")
    other = Runtime("crun", tmp_path / "state")
    assert await other.state(handle.id) is None
    assert await other.list_ids() == []
