"""What build_spec promises, seen from inside a running container."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from runtime import cgroups
from runtime.containers import devices, filter
from runtime.containers.facts import host_facts
from runtime.containers.spec import Mount, User, exec_process
from runtime.oci.words import CannotStart
from runtime.snapshots import userns
from runtime.snapshots.shm import SharedMemory

from .conftest import Lab


def mounts(text: str) -> dict[str, tuple[str, set[str]]]:
    lines = [line.split() for line in text.splitlines()]
    return {line[1]: (line[2], set(line[3].split(","))) for line in lines if len(line) == 6}


async def test_root_in_the_container_has_dockers_identity(lab: Lab) -> None:
    said = await lab.sh("id -u; id -G; echo $HOME; echo $PATH; hostname; echo $HOSTNAME; pwd; echo $$")
    lines = said.splitlines()
    assert lines[:4] == ["0", "0 10", "/root", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    assert lines[4] == lines[5] == lab.ids[0][:12]
    assert lines[6:] == ["/", "1"]


async def test_the_host_sees_another_root_when_ids_are_mapped(lab: Lab) -> None:
    handle = await lab.create("sleep", "100")
    await lab.conmon.start(handle)
    owner = os.stat(f"/proc/{handle.pid}").st_uid
    assert owner == (lab.mapping.base if lab.mapping else 0)


async def test_the_mounts_are_dockers(lab: Lab) -> None:
    seen = mounts(await lab.sh("cat /proc/mounts"))
    for path, kind, options in (
        ("/", "overlay", {"rw"}),
        ("/proc", "proc", {"nosuid", "nodev", "noexec"}),
        ("/dev", "tmpfs", {"nosuid", "size=65536k", "mode=755"}),
        ("/dev/pts", "devpts", {"nosuid", "noexec", "mode=620", "ptmxmode=666"}),
        ("/dev/shm", "tmpfs", {"nosuid", "nodev", "noexec", "size=65536k"}),
        ("/dev/mqueue", "mqueue", {"nosuid", "nodev", "noexec"}),
        ("/sys", "sysfs", {"ro", "nosuid", "nodev", "noexec"}),
        ("/proc/sys", "proc", {"ro"}),
        ("/sys/firmware", "tmpfs", {"ro"}),
    ):
        assert seen[path][0] == kind, path
        assert options <= seen[path][1], path
    cgroup = [entry for path, entry in seen.items() if path.startswith("/sys/fs/cgroup/")]
    assert cgroup or seen["/sys/fs/cgroup"][0] == "cgroup2"
    assert all("ro" in options for _, options in cgroup)


async def test_devices_are_there_and_work(lab: Lab) -> None:
    said = await lab.sh(
        "cd /dev; for d in null zero full random urandom tty ptmx fd stdin stdout stderr;"
        " do test -e $d || echo $d; done;"
        "echo x > null; head -c 3 zero | wc -c; head -c 3 urandom | wc -c; echo done"
    )
    assert said.split() == ["3", "3", "done"]


async def test_other_devices_are_refused(lab: Lab) -> None:
    code, said = await lab.output("sh", "-c", "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem")
    assert code != 0
    assert "Operation not permitted" in said


async def test_capabilities_are_dockers(lab: Lab) -> None:
    said = await lab.sh("grep Cap /proc/self/status")
    values = dict(line.split(":\t") for line in said.splitlines())
    assert values["CapBnd"] == values["CapEff"] == values["CapPrm"] == "00000000a80425fb"
    assert values["CapInh"] == values["CapAmb"] == "0000000000000000"


async def test_another_user_has_no_capabilities_but_its_groups(lab: Lab) -> None:
    said = await lab.sh(
        "id -u; id -g; id -G; grep CapEff /proc/self/status;"
        " echo $HOME; touch /tmp/mine && stat -c %u /tmp/mine",
        user=User(33, 44, (44, 55), "/home"),
    )
    assert said.split() == ["33", "44", "44", "55", "CapEff:", "0000000000000000", "/home", "33"]


async def test_dangerous_calls_are_refused(lab: Lab) -> None:
    said = await lab.sh(
        "unshare -m true 2>&1; mount -t tmpfs x /tmp 2>&1; hostname other 2>&1; dmesg 2>&1 | head -1;"
        "grep -c . /proc/kcore 2>/dev/null; grep Seccomp: /proc/self/status"
    )
    assert said.count("Operation not permitted") + said.count("permission denied") >= 4
    assert "Seccomp:\t2" in said


async def test_threads_and_processes_can_be_made_under_seccomp(lab: Lab) -> None:
    assert (await lab.sh("(sleep 0.1; echo a) & (echo b | cat) ; wait; echo c")).split() == ["b", "a", "c"]


async def test_ping_and_low_ports_need_no_rights(lab: Lab) -> None:
    assert await lab.sh("ping -c 1 127.0.0.1 | grep -c '1 packets received'") == "1\n"
    said = await lab.sh(
        "cd /proc/sys/net/ipv4; cat ip_unprivileged_port_start ping_group_range;"
        "nc -l -p 80 -e cat </dev/null &"
        " until echo hi | nc 127.0.0.1 80 2>/dev/null; do sleep 0.05; done; wait",
        user=User(33, 33, (33,)),
    )
    assert said.split() == ["0", "0", str(lab.mapping.size - 1 if lab.mapping else 2**31 - 1), "hi"]


async def test_a_terminal_is_the_programs_own(lab: Lab) -> None:
    said = await lab.sh(
        "tty; stty size; stat -c %u /dev/console; echo $TERM; echo x >/dev/tty",
        tty=True,
        console_size=(30, 90),
    )
    assert said.replace("\r", "").split() == ["/dev/pts/0", "30", "90", "0", "xterm", "x"]


async def test_limits_reach_the_cgroup(lab: Lab) -> None:
    handle = await lab.create(
        "sleep",
        "100",
        host={
            "Memory": 64 << 20,
            "MemorySwap": 128 << 20,
            "MemoryReservation": 32 << 20,
            "NanoCpus": 500_000_000,
            "CpuShares": 512,
            "CpusetCpus": "0",
            "PidsLimit": 33,
        },
    )
    found = cgroups.detect()

    def value(controller: str, name: str) -> str:
        directory = found.directory(controller, f"/{lab.instance}/{handle.id}")
        assert directory is not None
        return (directory / name).read_text().strip()

    assert value("pids", "pids.max") == "33"
    if found.version == 1:
        assert value("memory", "memory.limit_in_bytes") == str(64 << 20)
        assert value("memory", "memory.memsw.limit_in_bytes") == str(128 << 20)
        assert value("memory", "memory.soft_limit_in_bytes") == str(32 << 20)
        assert (value("cpu", "cpu.cfs_quota_us"), value("cpu", "cpu.cfs_period_us")) == ("50000", "100000")
        assert (value("cpu", "cpu.shares"), value("cpuset", "cpuset.cpus")) == ("512", "0")


async def test_ulimits_shm_sysctls_and_the_read_only_root_are_applied(lab: Lab) -> None:
    said = await lab.sh(
        "ulimit -n; ulimit -c; df -k /dev/shm | tail -1;"
        " cat /proc/sys/kernel/msgmax; touch /x 2>&1; touch /dev/shm/y;"
        "cat /proc/sys/net/ipv4/ip_forward; touch /run/z;"
        " mount | grep ' /run ' | grep -c size=1024k; hostname -d; true",
        host={
            "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}, {"Name": "core", "Soft": 0, "Hard": 0}],
            "ShmSize": 1 << 20,
            "Sysctls": {"kernel.msgmax": "9000", "net.ipv4.ip_forward": "1"},
            "ReadonlyRootfs": True,
            "Tmpfs": {"/run": "size=1m,exec"},
        },
    )
    words = said.split()
    assert words[:2] == ["100", "0"]
    assert "1024" in said
    assert "9000" in words
    assert "Read-only file system" in said
    assert said.count("Read-only") == 1


async def test_domain_name_is_set(lab: Lab) -> None:
    assert (
        await lab.sh("cat /proc/sys/kernel/domainname", domainname="example.org")
    ).strip() == "example.org"


async def test_our_own_files_are_bound_with_the_containers_ids(lab: Lab) -> None:
    hosts = lab.home / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    volume = lab.home / "volume"
    volume.mkdir()
    said = await lab.sh(
        "stat -c %u:%g /etc/hosts; cat /etc/hosts; echo x >> /etc/hosts;"
        " touch /data/new; chown 7:8 /data/new; stat -c %u /data",
        mounts=[Mount("/etc/hosts", source=str(hosts)), Mount("/data", source=str(volume))],
    )
    assert said.split() == ["0:0", "127.0.0.1", "localhost", "0"]
    status = (volume / "new").stat()
    assert (status.st_uid, status.st_gid) == (7, 8)
    assert hosts.read_text().endswith("x\n")


async def test_host_directories_are_bound_with_their_ids(lab: Lab, tmp_path: Path) -> None:
    if lab.mapping and lab.runtime.name == "runc":
        pytest.skip(
            "this runc cannot map the ids of a bind; the engine then runs the container with host ids"
        )
    os.chmod(tmp_path.parent, 0o711)
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", 7, 8)
    if lab.mapping:
        assert userns.mappable(tmp_path, lab.mapping)
    said = await lab.sh(
        "stat -c %u:%g /data/file; touch /data/new;"
        " stat -c %u /data/new; touch /ro/x 2>&1 | grep -c Read-only",
        mounts=[
            Mount("/data", source=str(tmp_path), idmap=lab.mapping is not None),
            Mount("/ro", source=str(tmp_path), read_only=True, idmap=lab.mapping is not None),
        ],
    )
    assert said.split() == ["7:8", "0", "1"]
    assert (tmp_path / "new").stat().st_uid == 0


async def test_a_mount_below_a_mount_is_seen(lab: Lab, tmp_path: Path) -> None:
    outer, inner = lab.home / "outer", lab.home / "inner"
    (outer / "deep").mkdir(parents=True)
    inner.mkdir()
    (inner / "found").touch()
    said = await lab.sh(
        "ls /a/deep", mounts=[Mount("/a/deep", source=str(inner)), Mount("/a", source=str(outer))]
    )
    assert said.split() == ["found"]


async def test_an_init_program_reaps_and_passes_the_exit_code(lab: Lab) -> None:
    init = Path("/usr/bin/tini-static")
    code, said = await lab.output("sh", "-c", "cat /proc/1/comm; echo $$; exit 9", init=init)
    assert code == 9
    assert said.split()[0] == "docker-init"
    assert said.split()[1] != "1"


async def test_privileged_sees_devices_and_everything_unmasked(lab: Lab) -> None:
    said = await lab.sh(
        "mount -t tmpfs x /tmp && echo mounted;"
        " test -b /dev/vda -o -c /dev/kmsg && echo devices; grep Seccomp: /proc/self/status;"
        "mount | grep -c '^sysfs on /sys type sysfs (rw'",
        host={"Privileged": True},
        devices=devices.all_devices(),
    )
    assert said.split() == ["mounted", "devices", "Seccomp:", "0", "1"]


async def test_a_device_can_be_given(lab: Lab) -> None:
    found = devices.resolve([{"PathOnHost": "/dev/zero", "PathInContainer": "/dev/mine"}])
    said = await lab.sh("head -c 4 /dev/mine | wc -c; stat -c %t:%T /dev/mine", devices=found)
    assert said.split() == ["4", "1:5"]


async def test_namespaces_of_the_host_and_of_others_can_be_used(host_lab: Lab) -> None:
    lab = host_lab
    said = await lab.sh(
        "hostname; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc;"
        " readlink /proc/self/ns/uts; readlink /proc/self/ns/pid",
        host={"NetworkMode": "host", "IpcMode": "host", "UTSMode": "host", "PidMode": "host"},
    )
    own = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "ipc", "uts", "pid")]
    assert said.split() == [os.uname().nodename, *own]
    first = await lab.create("sleep", "100")
    await lab.conmon.start(first)
    said = await lab.sh(
        "ps | grep -c 'sleep 100'; readlink /proc/self/ns/ipc",
        host={"PidMode": f"container:{first.id}", "IpcMode": f"container:{first.id}"},
        pidns=Path(f"/proc/{first.pid}/ns/pid"),
        ipcns=Path(f"/proc/{first.pid}/ns/ipc"),
    )
    assert int(said.split()[0]) >= 1
    assert said.split()[1] == os.readlink(f"/proc/{first.pid}/ns/ipc")


async def test_a_mapped_container_can_share_the_namespaces_of_another(lab: Lab) -> None:
    first = await lab.create("sleep", "100")
    await lab.conmon.start(first)
    said = await lab.sh(
        "ps | grep -c 'sleep 100'; ip link | grep -c lo:; id -u",
        host={"PidMode": f"container:{first.id}", "IpcMode": f"container:{first.id}"},
        pidns=Path(f"/proc/{first.pid}/ns/pid"),
        ipcns=Path(f"/proc/{first.pid}/ns/ipc"),
        netns=Path(f"/proc/{first.pid}/ns/net"),
        own_network=False,
    )
    assert said.split()[1:] == ["1", "0"]


async def test_a_working_directory_is_made_when_missing(lab: Lab) -> None:
    assert (await lab.sh("pwd; ls -ld /new/dir | cut -c1-10", cwd="/new/dir")).split() == [
        "/new/dir",
        "drwxr-xr-x",
    ]


async def test_no_new_privileges_holds(lab: Lab) -> None:
    said = await lab.sh("grep NoNewPrivs /proc/self/status", host={"SecurityOpt": ["no-new-privileges"]})
    assert said.split() == ["NoNewPrivs:", "1"]


async def test_an_own_seccomp_profile_is_used(lab: Lab) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    }
    code, said = await lab.output(
        "sh",
        "-c",
        "mkdir /tmp/x",
        host={"SecurityOpt": [f"seccomp={json.dumps(profile)}"]},
        seccomp_profile=profile,
    )
    assert code == 1
    assert "Operation not permitted" in said


async def test_a_missing_program_is_told_and_nothing_runs(lab: Lab) -> None:
    with pytest.raises(CannotStart) as caught:
        await lab.create("nosuch")
    assert caught.value.exit_code == 127
    assert await lab.runtime.state(lab.ids[-1]) is None


async def test_a_cgroup_namespace_shows_an_own_root(lab: Lab) -> None:
    said = await lab.sh("cut -d: -f3 /proc/self/cgroup | sort -u", host={"CgroupnsMode": "private"})
    assert said.split() == ["/"]


async def test_shared_memory_of_another_container_can_be_joined(lab: Lab) -> None:
    shm = SharedMemory(lab.run_dir)
    path = shm.mount("first", 1 << 20, lab.mapping)
    assert shm.mount("first", 1 << 20, lab.mapping) == path
    options = {"mounts": [Mount("/dev/shm", source=str(path))]}
    first = await lab.create(
        "sh", "-c", "echo from-first > /dev/shm/x; sleep 100", host={"IpcMode": "shareable"}, **options
    )
    await lab.conmon.start(first)
    said = await lab.sh(
        "while ! test -s /dev/shm/x; do sleep 0.02; done; cat /dev/shm/x; stat -c %u:%a /dev/shm",
        host={"IpcMode": f"container:{first.id}"},
        ipcns=Path(f"/proc/{first.pid}/ns/ipc"),
        **options,
    )
    assert said.split() == ["from-first", "0:1777"]
    lab.snapshots.reconcile(set(lab.ids))
    assert not path.exists()


async def test_the_compiled_filter_is_what_crun_makes_itself(mapped_lab: Lab) -> None:
    lab = mapped_lab
    handle = await lab.create("sleep", "100")
    config = handle.dir / "config.json"
    spec = json.loads(config.read_text())
    given = (lab.runtime.root / handle.id / "seccomp.bpf").read_bytes()
    assert base64.b64decode(spec["annotations"].pop(filter.ANNOTATION)) == given
    await lab.runtime.delete(handle.id, force=True)
    await lab.conmon.abandon(handle.dir)
    config.write_text(json.dumps(spec))
    await lab.conmon.create(id=handle.id, bundle=handle.dir, tty=False, stdin=False, log_path=None)
    assert (lab.runtime.root / handle.id / "seccomp.bpf").read_bytes() == given


async def test_an_exec_is_confined_as_its_container(lab: Lab) -> None:
    handle = await lab.create("sleep", "100")
    await lab.conmon.start(handle)
    spec = json.loads((handle.dir / "config.json").read_text())
    script = "grep -E 'Seccomp:|CapEff' /proc/self/status; unshare -m true 2>&1; cat /proc/self/uid_map"
    process = exec_process(
        {"Cmd": ["sh", "-c", script]},
        User(0, 0, (0,), "/root"),
        spec,
        host_facts(),
    )
    _, stream = await lab.conmon.exec(
        id=handle.id, exec_id="e", dir=handle.dir / "exec", process=lambda: process, tty=False, stdin=False
    )
    assert stream is not None
    said = b""
    while (chunk := await stream.read()) is not None:
        said += chunk[1]
    stream.close()
    assert b"Seccomp:\t2" in said
    assert b"CapEff:\t00000000a80425fb" in said
    assert b"Operation not permitted" in said
    if lab.mapping:
        assert str(lab.mapping.base).encode() in said
