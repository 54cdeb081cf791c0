"""Registries: what engine.toml fixes stays, what is set at run time is checked, kept and in force at once."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from runtime.api.errors import Conflict, Forbidden, InvalidArgument, NotFound
from runtime.config import RegistryConfig
from runtime.images.registries import MIRRORS_MAX, Registries, host_of, mirror_host, mirror_url

FIXED = RegistryConfig("corp.example", ca=Path("/etc/ca.pem"))


def registries(place: Path, **mirrors: tuple[str, ...]) -> Registries:
    return Registries(place / "registries.json", {"corp.example": FIXED}, mirrors)


async def test_what_is_set_is_in_force_at_once_and_after_a_restart(tmp_path: Path) -> None:
    first = registries(tmp_path)
    configs, mirrors = first.configs, first.mirrors
    changes: list[int] = []
    first.on_change = lambda: changes.append(1)
    row = await first.set("docker.io", {"Mirrors": ["https://m.example/"], "Insecure": True})
    assert row["Mirrors"] == ["https://m.example"]
    assert row["Source"] == "set"
    assert mirrors["docker.io"] == ("https://m.example",)
    assert configs["docker.io"].insecure
    assert changes
    again = registries(tmp_path)
    assert again.load() == []
    assert again.rows() == first.rows()
    assert stat.S_IMODE((tmp_path / "registries.json").stat().st_mode) == 0o600


async def test_docker_io_comes_first_under_its_one_name(tmp_path: Path) -> None:
    one = registries(tmp_path)
    await one.set("a.example", {})
    await one.set("registry-1.docker.io", {"Mirrors": ["https://m.example"]})
    assert [row["Host"] for row in one.rows()] == ["docker.io", "a.example", "corp.example"]
    assert [row["Source"] for row in one.rows()] == ["set", "set", "config"]


async def test_what_the_file_fixes_is_not_changed(tmp_path: Path) -> None:
    one = registries(tmp_path, **{"hub.example": ("https://m.example",)})
    for host in ("corp.example", "hub.example"):
        with pytest.raises(Conflict, match=r"engine\.toml"):
            await one.set(host, {"Insecure": True})
        with pytest.raises(Conflict):
            await one.forget(host)
    assert one.configs["corp.example"] == FIXED
    assert one.row("corp.example")["CAFile"] == "/etc/ca.pem"


async def test_a_host_that_the_file_came_to_name_is_the_files(tmp_path: Path) -> None:
    before = Registries(tmp_path / "registries.json", {}, {})
    await before.set("corp.example", {"Insecure": True, "Mirrors": ["https://m.example"]})
    after = registries(tmp_path)
    assert after.load() == []
    assert after.row("corp.example")["Source"] == "config"
    assert not after.configs["corp.example"].insecure
    assert after.mirrors.get("corp.example", ()) == ()


async def test_forgetting_brings_the_plain_way_back(tmp_path: Path) -> None:
    one = registries(tmp_path)
    await one.set("a.example", {"Local": True})
    await one.forget("a.example")
    assert "a.example" not in one.configs
    with pytest.raises(NotFound):
        await one.forget("a.example")


async def test_settings_that_cannot_be_are_refused_and_change_nothing(tmp_path: Path) -> None:
    one = registries(tmp_path)
    for body, why in (
        ({"Mirrors": ["ftp://m.example"]}, "no address"),
        ({"Mirrors": ["https://m.example/../x"]}, "path of mirror"),
        ({"Mirrors": ["https://m.example/x?y=1"]}, "path of mirror"),
        ({"Mirrors": ["https://ann:secret@m.example"]}, "no address"),
        ({"Mirrors": ["https://m.example", "https://m.example/"]}, "twice"),
        ({"Mirrors": [f"https://m{n}.example" for n in range(MIRRORS_MAX + 1)]}, "more than"),
        ({"CA": "no certificate"}, "no PEM"),
        ({"CA": "-----BEGIN CERTIFICATE-----\nä\n-----END CERTIFICATE-----"}, "no PEM"),
        ({"TokenHosts": ["https://auth.example"]}, "no host name"),
    ):
        with pytest.raises(InvalidArgument, match=why):
            await one.set("a.example", body)  # type: ignore[arg-type]
    assert [row["Host"] for row in one.rows()] == ["docker.io", "corp.example"]
    assert not (tmp_path / "registries.json").exists()


@pytest.mark.parametrize(
    "text", ["", "name", "a.example/x", "a.example:x", "a_b.example", "..", "a b.example"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is no registry"):
        host_of(text)


def test_hosts_and_mirrors_have_one_spelling() -> None:
    assert host_of(" Registry.Example:5000 ") == "registry.example:5000"
    assert host_of("localhost:5000") == "localhost:5000"
    assert mirror_host(mirror_url("http://10.0.0.5:5000/hub/")) == "10.0.0.5:5000"


def test_a_broken_file_is_told_and_does_not_stop_the_start(tmp_path: Path) -> None:
    file = tmp_path / "registries.json"
    file.write_text("{")
    assert "cannot be read" in registries(tmp_path).load()[0]
    kept = {"a.example": {"Insecure": True}, "b.example": {"CA": "broken"}, "c.example": 5}
    file.write_text(json.dumps({"registries": kept}))
    one = registries(tmp_path)
    assert len(one.load()) == 2
    assert one.configs["a.example"].insecure


def test_only_the_file_allows_an_address_by_writing_it_down(tmp_path: Path) -> None:
    written = {host: RegistryConfig(host) for host in ("127.0.0.1:5000", "localhost:5000", "[::1]:5000")}
    one = Registries(tmp_path / "registries.json", written, {})
    assert all(one.configs[host].local for host in written)
    changed, _ = one.with_changes("127.0.0.1:6000", {"Insecure": True})
    assert not changed["127.0.0.1:6000"].local


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "127.9.9.9", "localhost:5000", "localhost", "[::1]:5000"])
async def test_root_may_ask_a_registry_of_this_machine_without_setting_it(tmp_path: Path, host: str) -> None:
    one = registries(tmp_path)
    with pytest.raises(Forbidden, match=r"engine\.toml"):
        one.reach(host, confined=True)
    one.reach(host, confined=False)
    assert (one.configs[host].local, one.configs[host].insecure) == (True, True)
    with pytest.raises(Forbidden, match=r"engine\.toml"):
        one.reach(host, confined=True)
    assert host not in [row["Host"] for row in one.rows()]
    await one.set(host, {"Local": True})
    one.reach(host, confined=True)
    assert not one.configs[host].insecure


@pytest.mark.parametrize(
    "host", ["corp.example", "10.0.0.1:5000", "169.254.169.254", "localhost.example", "0.0.0.0"]
)
async def test_other_hosts_stay_as_they_are(tmp_path: Path, host: str) -> None:
    one = registries(tmp_path)
    before = dict(one.configs)
    for confined in (True, False):
        one.reach(host, confined=confined)
    assert one.configs == before
