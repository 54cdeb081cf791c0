"""Volumes on a real file system: made, filled, mounted, counted, removed, and swept after a crash."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.api.errors import Conflict, EngineError, Internal, InvalidArgument, NotFound, NotSupported
from runtime.events import EventHub
from runtime.volumes import content
from runtime.volumes.store import Volumes
from tests import leftovers

REPOSITORY = Path(__file__).resolve().parents[4]


@pytest.fixture
def directory() -> Iterator[Path]:
    path = leftovers.directory("webdock-volumes-")
    yield path
    left = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    mounts = [place for place in left if place.startswith(str(path))]
    for place in mounts:
        subprocess.run(["umount", "--lazy", place], check=False)
    shutil.rmtree(path)
    assert not mounts, f"mounts were left: {mounts}"


class Site:
    """An engine's volumes, and who is said to use them."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "volumes"
        self.run = directory / "run"
        self.events = EventHub()
        self.users: dict[str, list[tuple[str, bool]]] = {}

    async def start(self) -> Volumes:
        volumes = Volumes(self.root, self.run, self.events, lambda name: self.users.get(name, []))
        await volumes.start()
        return volumes


@pytest.fixture
def site(directory: Path) -> Site:
    return Site(directory)


@pytest.fixture
async def volumes(site: Site) -> Volumes:
    return await site.start()


@pytest.fixture
def image(directory: Path) -> Path:
    """A directory as an image has it: owners, modes, links, a device, attributes, old times."""
    place = directory / "image"
    place.mkdir(mode=0o750)
    os.chown(place, 999, 998)
    (place / "data.txt").write_text("hello")
    os.chown(place / "data.txt", 101, 102)
    (place / "data.txt").chmod(0o4711)
    os.utime(place / "data.txt", (1_000_000_000, 1_000_000_000))
    os.link(place / "data.txt", place / "same.txt")
    (place / "link").symlink_to("/etc/passwd")
    (place / "empty").mkdir(mode=0o700)
    os.setxattr(place / "empty", "user.note", b"kept")
    os.mknod(place / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mkfifo(place / "fifo")
    return place


async def test_volume_is_made_shown_and_removed(volumes: Volumes, site: Site) -> None:
    body = await volumes.create({"Name": "data", "Labels": {"tier": "db"}})
    assert body == await volumes.inspect("data")
    assert body["Mountpoint"] == str(site.root / "data" / "_data")
    assert (body["Driver"], body["Scope"], body["Options"]) == ("local", "local", None)
    assert body["Labels"] == {"tier": "db"}
    assert stat.S_IMODE(os.stat(body["Mountpoint"]).st_mode) == 0o755
    assert [volume["Name"] for volume in (await volumes.list())["Volumes"]] == ["data"]
    await volumes.remove("data")
    assert list(site.root.iterdir()) == []
    with pytest.raises(NotFound, match="get data: no such volume"):
        await volumes.inspect("data")


async def test_same_name_again_gives_the_same_volume(volumes: Volumes) -> None:
    first = await volumes.create({"Name": "data", "Labels": {"a": "1"}})
    assert await volumes.create({"Name": "data"}) == first
    made = await asyncio.gather(*(volumes.create({"Name": "other"}) for _ in range(10)))
    assert all(body == made[0] for body in made)


async def test_anonymous_volume_has_64_hex_digits_and_a_label(volumes: Volumes) -> None:
    body = await volumes.create({})
    assert len(body["Name"]) == 64
    assert int(body["Name"], 16) >= 0
    assert body["Labels"] == {"com.docker.volume.anonymous": ""}


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({"Name": "a/b"}, InvalidArgument, r'"a/b" includes invalid characters for a local volume name'),
        ({"Name": "../up"}, InvalidArgument, "includes invalid characters"),
        ({"Name": ".hidden"}, InvalidArgument, "includes invalid characters"),
        ({"Name": "a b"}, InvalidArgument, "includes invalid characters"),
        ({"Name": "ab\n"}, InvalidArgument, "includes invalid characters"),
        ({"Name": "x"}, InvalidArgument, "volume name is too short"),
        ({"Name": "x" * 256}, InvalidArgument, "too long"),
        ({"Name": "xy", "Driver": "flocker"}, NotFound, 'plugin "flocker" not found'),
        ({"Name": "xy", "DriverOpts": {"color": "red"}}, InvalidArgument, 'invalid option: "color"'),
        (
            {"Name": "xy", "DriverOpts": {"type": "tmpfs"}},
            InvalidArgument,
            'missing required option: "device"',
        ),
        ({"Name": "xy", "DriverOpts": {"o": "bind", "device": "/x"}}, InvalidArgument, 'option: "type"'),
        ({"Name": "xy", "DriverOpts": {"size": "10g"}}, NotSupported, "quota"),
        ({"Name": "xy", "DriverOpts": {"type": 3}}, InvalidArgument, "must be an object of strings"),
        ({"Name": "xy", "Labels": ["a"]}, InvalidArgument, "must be an object of strings"),
        ({"Name": 5}, InvalidArgument, "must be a string"),
    ],
)
async def test_bad_requests_are_refused_and_make_nothing(
    volumes: Volumes, site: Site, body: dict[str, object], kind: type[EngineError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        await volumes.create(body)
    assert list(site.root.iterdir()) == []


async def test_used_volume_is_not_removed_and_says_by_whom(volumes: Volumes, site: Site) -> None:
    await volumes.create({"Name": "data"})
    site.users["data"] = [("c" * 64, False)]
    with pytest.raises(Conflict) as refused:
        await volumes.remove("data", force=True)
    assert refused.value.message == f"remove data: volume is in use - [{'c' * 64}]"
    assert (await volumes.prune({"all": ["true"]}))["VolumesDeleted"] == []


async def test_volume_counts_as_used_while_its_container_is_being_made(volumes: Volumes) -> None:
    volume = await volumes.ensure(None, holder="new")
    with pytest.raises(Conflict, match="in use"):
        await volumes.remove(volume.name)
    assert (await volumes.prune())["VolumesDeleted"] == []
    volumes.release("new")
    await volumes.remove(volume.name)


async def test_force_makes_a_missing_volume_no_error(volumes: Volumes) -> None:
    await volumes.remove("nothing", force=True)
    with pytest.raises(NotFound):
        await volumes.remove("nothing")


async def test_filters_of_list(volumes: Volumes, site: Site) -> None:
    await volumes.create({"Name": "alpha", "Labels": {"tier": "db", "env": "x"}})
    await volumes.create({"Name": "beta", "Labels": {"tier": "web"}})
    site.users["beta"] = [("c" * 64, True)]

    async def names(**filters: list[str]) -> list[str]:
        return [volume["Name"] for volume in (await volumes.list(filters))["Volumes"]]

    assert await names(name=["a"]) == ["alpha", "beta"]
    assert await names(name=["alp"]) == ["alpha"]
    assert await names(label=["tier"]) == ["alpha", "beta"]
    assert await names(label=["tier=db", "env=x"]) == ["alpha"]
    assert await names(dangling=["true"]) == ["alpha"]
    assert await names(dangling=["0"]) == ["beta"]
    assert await names(driver=["local"]) == ["alpha", "beta"]
    assert await names(driver=["nfs"]) == []
    for bad in ({"color": ["red"]}, {"dangling": ["maybe"]}):
        with pytest.raises(InvalidArgument, match="invalid filter"):
            await volumes.list(bad)


async def test_prune_takes_anonymous_volumes_and_named_ones_when_asked(volumes: Volumes) -> None:
    named = await volumes.create({"Name": "named", "Labels": {"keep": "no"}})
    anonymous = await volumes.create({})
    Path(anonymous["Mountpoint"], "file").write_bytes(b"x" * 10_000)
    answer = await volumes.prune()
    assert answer["VolumesDeleted"] == [anonymous["Name"]]
    assert answer["SpaceReclaimed"] >= 10_000
    assert (await volumes.prune({"all": ["1"], "label!": ["keep"]}))["VolumesDeleted"] == []
    assert (await volumes.prune({"all": ["1"], "label": ["keep=no"]}))["VolumesDeleted"] == [named["Name"]]


async def test_first_use_copies_everything_of_the_image(volumes: Volumes, image: Path) -> None:
    volume = await volumes.ensure("data", holder="c")
    assert await volumes.populate("data", image, "c")
    got = volume.mountpoint
    top = os.stat(got)
    assert (top.st_uid, top.st_gid, stat.S_IMODE(top.st_mode)) == (999, 998, 0o750)
    status = os.stat(got / "data.txt")
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (101, 102, 0o4711)
    assert int(status.st_mtime) == 1_000_000_000
    assert os.stat(got / "same.txt").st_ino == status.st_ino
    assert os.readlink(got / "link") == "/etc/passwd"
    assert os.getxattr(got / "empty", "user.note") == b"kept"
    assert os.stat(got / "null").st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO(os.stat(got / "fifo").st_mode)


async def test_volume_with_files_is_not_copied_into(volumes: Volumes, image: Path) -> None:
    volume = await volumes.ensure("data", holder="c")
    (volume.mountpoint / "mine").write_text("x")
    assert not await volumes.populate("data", image, "c")
    assert [entry.name for entry in volume.mountpoint.iterdir()] == ["mine"]


async def test_copy_that_fails_leaves_the_volume_empty(volumes: Volumes, directory: Path) -> None:
    volume = await volumes.ensure("data", holder="c")
    with pytest.raises(Internal, match=r"volume data cannot be filled from the image: .*No such file"):
        await volumes.populate("data", directory / "nowhere", "c")
    assert list(volume.mountpoint.iterdir()) == []


async def test_copy_on_a_full_disk_leaves_the_volume_empty(directory: Path, image: Path) -> None:
    small = Site(directory / "small")
    small.root.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small.root)], check=True)
    try:
        (image / "big").write_bytes(b"x" * (2 << 20))
        volumes = await small.start()
        volume = await volumes.ensure("data", holder="c")
        with pytest.raises(Internal, match="No space left on device"):
            await volumes.populate("data", image, "c")
        assert list(volume.mountpoint.iterdir()) == []
        assert stat.S_IMODE(volume.mountpoint.stat().st_mode) == 0o755
    finally:
        subprocess.run(["umount", str(small.root)], check=True)


async def test_tmpfs_volume_is_mounted_while_it_is_used(volumes: Volumes, site: Site) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=4m,mode=1770,noexec,uid=1000"}
    await volumes.create({"Name": "fast", "DriverOpts": options})
    place = await volumes.mount("fast", "one")
    assert content.is_mounted(place)
    assert await volumes.mount("fast", "two") == place
    status = os.stat(place)
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o1770, 1000)
    (place / "file").write_text("x")
    await volumes.unmount("fast", "one")
    assert (place / "file").exists()
    await volumes.unmount("fast", "two")
    await volumes.unmount("fast", "two")
    assert not place.exists()
    await volumes.remove("fast")


async def test_bind_volume_shows_the_directory_with_its_flags(volumes: Volumes, directory: Path) -> None:
    (directory / "shared").mkdir()
    (directory / "shared" / "file").write_text("x")
    options = {"type": "none", "device": str(directory / "shared"), "o": "bind,ro"}
    await volumes.create({"Name": "shared", "DriverOpts": options})
    place = await volumes.mount("shared", "one")
    assert (place / "file").read_text() == "x"
    with pytest.raises(OSError, match="Read-only"):
        (place / "new").touch()
    await volumes.unmount("shared", "one")
    assert (directory / "shared" / "file").exists()
    await volumes.remove("shared")
    assert (directory / "shared" / "file").exists()


async def test_mount_that_fails_says_why_and_leaves_nothing(volumes: Volumes, site: Site) -> None:
    options = {"type": "none", "device": "/nowhere/at/all", "o": "bind"}
    await volumes.create({"Name": "lost", "DriverOpts": options})
    words = r"error while mounting volume '.*': failed to mount local volume: .*No such"
    with pytest.raises(Internal, match=words):
        await volumes.mount("lost", "one")
    assert list(site.run.iterdir()) == []
    await volumes.remove("lost")


async def test_events_tell_create_mount_unmount_and_destroy(volumes: Volumes, site: Site) -> None:
    follower = site.events.subscribe()
    await volumes.create({"Name": "data"})
    await volumes.mount("data", "c1", destination="/var", read_only=True, propagation="rprivate")
    await volumes.unmount("data", "c1")
    await volumes.remove("data")
    events = follower.pending()
    assert [event["Action"] for event in events] == ["create", "mount", "unmount", "destroy"]
    assert {event["Type"] for event in events} == {"volume"}
    assert {event["Actor"]["ID"] for event in events} == {"data"}
    assert events[1]["Actor"]["Attributes"] == {
        "container": "c1",
        "destination": "/var",
        "driver": "local",
        "propagation": "rprivate",
        "read/write": "false",
    }
    follower.close()


async def test_usage_counts_each_file_once(volumes: Volumes, site: Site) -> None:
    body = await volumes.create({"Name": "data"})
    place = Path(body["Mountpoint"])
    (place / "one").write_bytes(b"x" * 8192)
    os.link(place / "one", place / "two")
    (place / "loop").symlink_to("/")
    site.users["data"] = [("c" * 64, False)]
    (entry,) = await volumes.usage()
    assert entry["UsageData"] == {"Size": 8192, "RefCount": 1}


async def test_records_survive_a_restart(volumes: Volumes, site: Site) -> None:
    body = await volumes.create({"Name": "data", "Labels": {"a": "b"}, "DriverOpts": {}})
    Path(body["Mountpoint"], "file").write_text("kept")
    again = await site.start()
    assert await again.inspect("data") == body
    assert Path(body["Mountpoint"], "file").read_text() == "kept"


async def test_crash_leftovers_are_swept_at_start(volumes: Volumes, site: Site) -> None:
    (site.root / ".new-1234").mkdir()
    (site.root / ".gone-1234" / "_data").mkdir(parents=True)
    await volumes.create({"Name": "data"})
    again = await site.start()
    assert sorted(entry.name for entry in site.root.iterdir()) == ["data"]
    assert [volume["Name"] for volume in (await again.list())["Volumes"]] == ["data"]


async def test_half_copied_volume_is_empty_after_a_restart(site: Site, image: Path) -> None:
    volumes = await site.start()
    await volumes.ensure("data", holder="c")
    script = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from runtime.events import EventHub\n"
        "from runtime.volumes import content\n"
        "from runtime.volumes.store import Volumes\n"
        "async def half(source, target):\n"
        "    (target / 'half').write_text('x')\n"
        "    os.chown(target, 5, 5)\n"
        "    os.kill(os.getpid(), 9)\n"
        "content.copy = half\n"
        "async def main():\n"
        "    volumes = Volumes(Path(sys.argv[1]), Path(sys.argv[2]), EventHub(), lambda name: [])\n"
        "    await volumes.start()\n"
        "    await volumes.populate('data', Path(sys.argv[3]), 'c')\n"
        "asyncio.run(main())\n"
    )
    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(site.root), str(site.run), str(image)), cwd=REPOSITORY
    )
    assert await killed.wait() == -9
    assert (site.root / "data" / "_data" / "half").exists()
    again = await site.start()
    place = again.path("data")
    assert list(place.iterdir()) == []
    assert os.stat(place).st_uid == 0
    assert await again.populate("data", image, "c")


async def test_a_volume_being_filled_is_seen_whole_or_never(volumes: Volumes, site: Site) -> None:
    async with volumes.filling("copy", {"a": "b"}) as place:
        (place / "file").write_text("x")
        assert (await volumes.list())["Volumes"] == []
    assert (volumes.path("copy") / "file").read_text() == "x"

    async def fail() -> None:
        async with volumes.filling("failed", None) as place:
            (place / "half").write_text("x")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        await fail()
    assert [entry.name for entry in site.root.iterdir()] == ["copy"]
    async with volumes.filling("killed", None) as place:  # what another life of the engine finds here
        (place / "half").write_text("x")
        again = await site.start()
        assert [volume["Name"] for volume in (await again.list())["Volumes"]] == ["copy"]
        assert [entry.name for entry in site.root.iterdir()] == ["copy"]
        place.mkdir(parents=True)
    assert (await again.inspect("copy"))["Labels"] == {"a": "b"}


async def test_mounts_of_dead_containers_are_taken_away_at_start(volumes: Volumes, site: Site) -> None:
    options = {"type": "tmpfs", "device": "tmpfs"}
    for name in ("live", "dead"):
        await volumes.create({"Name": name, "DriverOpts": options})
        await volumes.mount(name, "c" * 64)
    site.users["live"] = [("c" * 64, True)]
    site.users["dead"] = [("c" * 64, False)]
    again = await site.start()
    assert content.is_mounted(again.path("live"))
    assert not again.path("dead").exists()
    await again.unmount("live", "c" * 64)
    assert not again.path("live").exists()


async def test_unreadable_record_is_left_alone_and_logged(
    volumes: Volumes, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    await volumes.create({"Name": "data"})
    (site.root / "data" / "record.json").write_text("{")
    again = await site.start()
    assert (await again.list())["Volumes"] == []
    assert "volume data cannot be read" in caplog.text
    assert (site.root / "data" / "_data").exists()
