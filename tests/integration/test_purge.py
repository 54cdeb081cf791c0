"""A purge of instances whose engine cannot start any more: nothing is left, as with one that can."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runtime import cgroups
from tests.integration.installation import Installation

BUSYBOX = "webdock/busybox"


def newer_state(installation: Installation) -> None:
    (installation.home / "engine/state-version").write_text("999\n")


def damage(installation: Installation) -> None:
    """Every record of containers and networks is no JSON, and neither version nor engine.toml can be read."""
    engine = installation.home / "engine"
    records = [*engine.glob("networks/*.json"), *engine.glob("containers/*/*.json")]
    assert records
    for path in (*records, engine / "state-version"):
        path.write_bytes(b"\0\xff{")
    installation.config.write_text("[policy")


@pytest.mark.parametrize("spoil", [newer_state, damage])
def test_a_purge_needs_no_engine(spoil: Callable[[Installation], None]) -> None:
    broken = Installation("purge")
    try:
        broken.up()
        broken.webdock("network", "create", "other")
        for name, more in (("one", ("--net", "other")), ("two", ("--cgroup-parent", "/webdock-purge-test"))):
            broken.webdock(
                "run", "-d", "--name", name, *more, BUSYBOX, "sh", "-c", "sleep 10000 & sleep 10000"
            )
        broken.webdock("exec", "-d", "one", "sleep", "10000")
        broken.webdock("pause", "two")
        broken.down()
        assert broken.residue()
        spoil(broken)
        done = broken.execute([*broken.command, "down", "--purge", "--yes"])
        broken.config.write_text("")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "everything is removed without it" in done.stderr
        assert "processes of containers" in done.stdout
        assert "ended: 0 " not in done.stdout
        assert "table inet" in done.stdout
        assert broken.residue() == []
        assert not broken.home.exists()
        assert not broken.run.exists()
    finally:
        broken.config.write_text("")
        broken.purge()
        cgroups.remove("/webdock-purge-test")
