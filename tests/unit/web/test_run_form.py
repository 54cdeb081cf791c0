"""The Run form laid over a body: what was not changed stays, what cannot be shown is not lost."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from django.forms import BooleanField
from hypothesis import given, settings
from hypothesis import strategies as st

from containers_app import endpoints, mounts, notations, runline, shellwords
from containers_app.difference import carried, differences
from containers_app.fields import FIELDS, overlay, texts_of
from containers_app.forms import RunForm, labels
from containers_app.intent import intent_of
from containers_app.sections import BOXES, SECTIONS
from containers_app.variables import parse_env, quoted, unquoted
from tests.unit.web.test_intent import asked
from webdock.engines.secrets import MASK


def sent(texts: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """What a browser sends of these fields: line ends of HTTP, boxes only when they are on."""
    whole = {**texts, **changed}
    return {
        name: "on" if value is True else str(value).replace("\n", "\r\n")
        for name, value in whole.items()
        if value is not False
    }


@settings(max_examples=40, deadline=None, derandomize=True)
@given(asked())
def test_a_form_sent_back_as_it_was_changes_nothing(body: dict[str, Any]) -> None:
    form = RunForm(sent(texts_of(body)), base=body)
    assert form.is_valid(), form.errors
    assert form.body() == body


@settings(max_examples=40, deadline=None, derandomize=True)
@given(asked())
def test_every_field_typed_anew_shows_the_same_again(body: dict[str, Any]) -> None:
    body["Env"] = [entry for entry in body.get("Env") or () if MASK not in entry]
    texts = texts_of(body)
    form = RunForm(sent(texts), base={})
    assert form.is_valid(), form.errors
    assert texts_of(form.body()) == texts


def test_every_field_is_on_the_form_and_the_form_has_no_other() -> None:
    shown = {"name", "image", "command", "ports", "env", "volumes", *BOXES}
    for _title, _note, named in SECTIONS:
        shown |= set(named)
    assert shown == set(RunForm.base_fields) == {"name", "platform", *FIELDS}


BASE = {
    "Image": "shop:1",
    "Env": ["A=1", "TOKEN=topsecret", "URL=redis://me:hidden@db", "TEXT=two\nlines", "odd name=x"],
    "Labels": {"a": "b", "#odd": "c"},
    "Entrypoint": [""],
    "Cmd": ["serve", "a b"],
    "MacAddress": "02:00:00:00:00:01",
    "HostConfig": {
        "NetworkMode": "front",
        "Mounts": [
            {"Type": "tmpfs", "Target": "/x"},
            {"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"CreateMountpoint": True}},
        ],
        "MemorySwappiness": 0,
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 7},
        "PortBindings": {
            "80/tcp": [{"HostIp": "::1", "HostPort": "8080"}],
            "1/udp": [{"HostIp": "", "HostPort": ""}],
        },
    },
    "ExposedPorts": {"80/tcp": {}, "1/udp": {}, "99/tcp": {}},
    "NetworkingConfig": {
        "EndpointsConfig": {
            "front": {"Aliases": ["a"], "GwPriority": 4},
            "back": {"IPAMConfig": {"IPv4Address": "10.0.0.9", "LinkLocalIPs": ["169.254.1.1"]}},
        }
    },
}


def test_what_the_form_shows() -> None:
    texts = texts_of(BASE)
    assert texts["env"].splitlines() == [
        "A=1",
        f"TOKEN={MASK}",
        f"URL=redis://me:{MASK}@db",
        'TEXT="two\\nlines"',
    ]
    assert (texts["entrypoint"], texts["command"]) == ("''", "serve 'a b'")
    assert texts["network"] == (
        "front alias=a mac=02:00:00:00:00:01 gw-priority=4\nback ip=10.0.0.9 link-local=169.254.1.1"
    )
    assert texts["ports"].splitlines() == ["[::1]:8080:80", "1/udp"]
    assert texts["expose"] == "99/tcp"
    assert texts["restart"] == "on-failure:7"
    assert (texts["mounts"], texts["memory_swappiness"]) == ("type=tmpfs,target=/x", "0")
    assert carried(BASE) == ["Mounts"]  # one of them


def changed(**fields: Any) -> dict[str, Any]:
    form = RunForm(sent(texts_of(BASE), **fields), base=BASE)
    assert form.is_valid(), form.errors
    return form.body()


def test_a_mask_that_comes_back_is_the_value_it_hides() -> None:
    env = texts_of(BASE)["env"].replace("A=1", "A=2")
    assert changed(env=env)["Env"] == [
        "A=2", "TOKEN=topsecret", "URL=redis://me:hidden@db", "TEXT=two\nlines", "odd name=x",
    ]  # fmt: skip
    assert "TOKEN=new" in changed(env="TOKEN=new")["Env"]
    for entry in (f"OTHER={MASK}", f"TOKEN={MASK}x"):
        form = RunForm(sent(texts_of(BASE), env=entry), base=BASE)
        assert not form.is_valid()
        assert "type the whole value" in form.errors["env"][0]


def test_what_no_line_can_say_is_kept() -> None:
    assert changed(labels="a=c")["Labels"] == {"#odd": "c", "a": "c"}
    assert changed(env="")["Env"] == ["odd name=x"]
    assert changed(ports="81:80")["ExposedPorts"] == {"99/tcp": {}, "80/tcp": {}}
    assert changed(mounts="")["HostConfig"]["Mounts"] == BASE["HostConfig"]["Mounts"][1:]
    assert "Mounts" not in carried(changed(mounts="") | {"HostConfig": {}})


def test_links_stay_with_whatever_network_it_is_made_on() -> None:
    body = changed(links="db:database")
    assert body["HostConfig"]["Links"] == ["db:database"]
    assert body["NetworkingConfig"]["EndpointsConfig"]["front"]["Links"] == ["db:database"]
    for network, links in (("back", ["db:database"]), ("", None)):
        form = RunForm(sent(texts_of(body), network=network), base=body)
        assert form.is_valid(), form.errors
        moved = form.body()
        ends = moved.get("NetworkingConfig", {}).get("EndpointsConfig", {})
        assert moved["HostConfig"]["Links"] == ["db:database"]
        assert {name: end.get("Links") for name, end in ends.items()} == ({network: links} if links else {})
    form = RunForm(sent(texts_of(body), links=""), base=body)
    assert form.is_valid(), form.errors
    assert form.body() == BASE


def test_settings_of_a_network_stand_behind_its_name() -> None:
    words = "front alias=b driver-opt=a=b,c gw-priority=-1\nback ip=10.0.0.10 link-local=169.254.1.1\nside"
    body = changed(network=words)
    assert body["NetworkingConfig"]["EndpointsConfig"] == {
        "front": {"GwPriority": -1, "Aliases": ["b"], "DriverOpts": {"a": "b,c"}},
        "back": {"IPAMConfig": {"IPv4Address": "10.0.0.10", "LinkLocalIPs": ["169.254.1.1"]}},
        "side": {},
    }
    assert texts_of(body)["network"] == words
    assert "MacAddress" not in body
    assert changed(network="host")["HostConfig"]["NetworkMode"] == "host"
    assert "NetworkingConfig" not in changed(network="")


def test_an_engines_own_way_with_ipc_and_logs_is_not_shown_as_asked_for() -> None:
    inspect = {"HostConfig": {"IpcMode": "private", "LogConfig": {"Type": "json-file", "Config": {}}}}
    body = intent_of(inspect, {}, {"LoggingDriver": "json-file"})
    assert "LogConfig" not in body["HostConfig"]
    assert "LogConfig" in intent_of(inspect, {}, {"LoggingDriver": "local"})["HostConfig"]
    texts = texts_of(body)
    assert not [name for name, text in texts.items() if text and text != "no"]
    form = RunForm(sent(texts, image="shop:1"), base=body)
    assert form.is_valid(), form.errors
    assert form.body()["HostConfig"]["IpcMode"] == "private"  # said all the same where it was


def test_an_entrypoint_that_is_given_back_to_the_image() -> None:
    assert "Entrypoint" not in changed(entrypoint="")
    assert changed(entrypoint="sh -c")["Entrypoint"] == ["sh", "-c"]


def test_a_field_that_was_not_sent_is_not_cleared() -> None:
    form = RunForm({"image": "shop:1"}, base={**BASE, "Tty": False})
    assert form.is_valid(), form.errors
    assert form.body() == {**BASE, "Tty": False}


def test_differences_say_which_lines_and_hide_secrets() -> None:
    after = changed(env="A=1\nTOKEN=other", restart="no", tty=True)
    found = {one["field"]: (one["removed"], one["added"]) for one in differences(BASE, after, labels())}
    assert found["tty"] == ([], ["yes"])
    assert found["restart"] == (["on-failure:7"], ["no"])
    assert f"TOKEN={MASK}" in found["env"][0]
    assert "topsecret" not in json.dumps(found)
    assert "other" not in json.dumps(found)
    assert differences(BASE, BASE, {}) == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(max_size=30))
def test_quoted_values_read_back_or_are_not_shown(value: str) -> None:
    entry = f"A={value}"
    try:
        back = parse_env(f"A={quoted(value)}")
    except ValueError:
        return
    shown = texts_of({"Env": [entry]})["env"]
    assert (back == [entry]) == bool(shown)
    assert unquoted(quoted(value)) == value or not shown


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("30s", 30 * 10**9),
        ("1m30s", 90 * 10**9),
        ("10", 10**10),
        ("500ms", 5 * 10**8),
        ("1.5h", 5400 * 10**9),
    ],
)
def test_durations(text: str, ns: int) -> None:
    assert notations.parse_duration(text) == ns
    assert notations.parse_duration(notations.duration_text(ns)) == ns


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (notations.parse_duration, "soon"),
        (notations.parse_pairs, "novalue"),
        (notations.parse_tmpfs, "relative"),
        (notations.parse_devices, "null"),
        (notations.parse_devices, "/dev/null:/dev/x:q"),
        (notations.parse_ulimits, "nofile"),
        (notations.parse_check, '["a", 1]'),
        (endpoints.parse_networks, "shop ip=here"),
        (endpoints.parse_networks, "shop color=red"),
        (endpoints.parse_networks, "shop\nshop"),
        (endpoints.parse_networks, "host\nshop"),
        (endpoints.parse_networks, "-x"),
        (endpoints.parse_networks, "shop 'x"),
    ],
)
def test_notations_name_what_they_cannot_read(parse: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(text)


@pytest.mark.parametrize(
    ("line", "mount"),
    [
        ("target=/m", {"Type": "volume", "Target": "/m"}),
        ("src=v,dst=/m,ro=false", {"Type": "volume", "Source": "v", "Target": "/m"}),
        (
            "type=bind,src=/a,dst=/b,ro,bind-propagation=rshared,consistency=delegated",
            {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True, "Consistency": "delegated",
             "BindOptions": {"Propagation": "rshared"}},
        ),
        (
            "type=bind,source=/a,target=/b,bind-recursive=readonly,readonly=1",
            {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True,
             "BindOptions": {"ReadOnlyForceRecursive": True}},
        ),
        (
            '"source=a,b",target=/m,volume-nocopy,volume-opt=type=nfs,volume-driver=local,volume-label=x=y=z',
            {"Type": "volume", "Source": "a,b", "Target": "/m",
             "VolumeOptions": {"NoCopy": True, "Labels": {"x": "y=z"},
                               "DriverConfig": {"Name": "local", "Options": {"type": "nfs"}}}},
        ),
        (
            "type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1770",
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 64 << 20, "Mode": 0o1770}},
        ),
    ],
)  # fmt: skip
def test_mounts_in_words(line: str, mount: dict[str, Any]) -> None:
    assert mounts.parse_mount(line) == mount
    assert mounts.parse_mount(mounts.mount_text(mount)) == mount


@pytest.mark.parametrize(
    "line",
    [
        *(
            "type=bind,target=/b",
            "type=bind,source=a,target=/b",
            "target=b",
            "source=v",
            "type=npipe,target=/b",
        ),
        *("target=/m,color=red", "target=/m,readonly=perhaps", "target=/m,tmpfs-size=1m", '"target=/m'),
        *(
            "type=tmpfs,target=/t,tmpfs-mode=999",
            "type=tmpfs,target=/t,tmpfs-size=x",
            "type=tmpfs,src=a,dst=/t",
        ),
        "type=bind,source=/a,target=/b,bind-recursive=often",
    ],
)
def test_mounts_that_are_none_are_named_wherever_they_stand(line: str) -> None:
    form = RunForm({"image": "shop:1", "mounts": line})
    assert "mounts" in form.errors
    fields, notes = runline.read(f"docker run --mount '{line}' shop:1")
    assert "mounts" not in fields
    assert notes[0].startswith("--mount was not taken: ")


@pytest.mark.parametrize(
    ("field", "option", "text", "host"),
    [
        ("cpu_period", "--cpu-period", "50000", {"CpuPeriod": 50_000}),
        ("cpu_quota", "--cpu-quota", "25000", {"CpuQuota": 25_000}),
        ("cpu_rt_period", "--cpu-rt-period", "1000000", {"CpuRealtimePeriod": 1_000_000}),
        ("cpu_rt_runtime", "--cpu-rt-runtime", "950000", {"CpuRealtimeRuntime": 950_000}),
        ("cpuset_mems", "--cpuset-mems", "0", {"CpusetMems": "0"}),
        ("memory_swappiness", "--memory-swappiness", "0", {"MemorySwappiness": 0}),
        ("blkio_weight", "--blkio-weight", "300", {"BlkioWeight": 300}),
        ("cgroup_parent", "--cgroup-parent", "shop", {"CgroupParent": "shop"}),
        ("userns_mode", "--userns", "host", {"UsernsMode": "host"}),
        ("uts_mode", "--uts", "host", {"UTSMode": "host"}),
        ("cgroupns_mode", "--cgroupns", "host", {"CgroupnsMode": "host"}),
        ("volumes_from", "--volumes-from", "web:ro", {"VolumesFrom": ["web:ro"]}),
        ("dns_options", "--dns-opt", "ndots:2", {"DnsOptions": ["ndots:2"]}),
        ("device_rules", "--device-cgroup-rule", "c 188:* rwm", {"DeviceCgroupRules": ["c 188:* rwm"]}),
        ("links", "--link", "db:database", {"Links": ["db:database"]}),
        ("annotations", "--annotation", "a.b=c", {"Annotations": {"a.b": "c"}}),
        ("volume_driver", "--volume-driver", "local", {"VolumeDriver": "local"}),
        ("blkio_weight_device", "--blkio-weight-device", "/dev/sda:300",
         {"BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 300}]}),
        ("device_read_bps", "--device-read-bps", "/dev/sda:1m",
         {"BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1 << 20}]}),
        ("device_write_bps", "--device-write-bps", "/dev/sda:1g",
         {"BlkioDeviceWriteBps": [{"Path": "/dev/sda", "Rate": 1 << 30}]}),
        ("device_read_iops", "--device-read-iops", "/dev/sda:9",
         {"BlkioDeviceReadIOps": [{"Path": "/dev/sda", "Rate": 9}]}),
        ("device_write_iops", "--device-write-iops", "/dev/sda:9",
         {"BlkioDeviceWriteIOps": [{"Path": "/dev/sda", "Rate": 9}]}),
        ("mounts", "--mount", "type=volume,target=/m", {"Mounts": [{"Type": "volume", "Target": "/m"}]}),
    ],
)  # fmt: skip
def test_an_option_from_the_line_to_the_body_and_back(
    field: str, option: str, text: str, host: dict[str, Any]
) -> None:
    fields, notes = runline.read(f"docker run {option} {shlex.quote(text)} shop:1")
    assert (fields, notes) == ({field: text, "image": "shop:1"}, [])
    form = RunForm(sent({**texts_of({}), **fields}), base={})
    assert form.is_valid(), form.errors
    assert form.body() == {"Image": "shop:1", "HostConfig": host}
    assert runline.read(runline.line_of(texts_of(form.body())))[0] == fields


def test_checks_in_three_spellings() -> None:
    for text, test in (
        ("true", ["CMD-SHELL", "true"]),
        ('["a", "b c"]', ["CMD", "a", "b c"]),
        ("none", ["NONE"]),
    ):
        assert notations.parse_check(text) == test
        assert notations.check_text(test) == text


WRONG = {
    "name": "-x",
    "image": "a b",
    "command": "it's",
    "entrypoint": '"',
    "env": "A B=1",
    "ports": "80:x",
    "volumes": "data:relative",
    "labels": "=x",
    "workdir": "srv",
    "user": "a b",
    "group_add": "a b",
    "stop_signal": "BANG",
    "stop_timeout": "soon",
    "network": "-x",
    "links": "a b",
    "hostname": "a b",
    "domainname": "a/b",
    "extra_hosts": "db:here",
    "dns": "dns.example",
    "dns_search": "a b",
    "dns_options": "a b",
    "expose": "80-70",
    "mounts": "type=bind",
    "tmpfs": "run",
    "volumes_from": "web:r o",
    "volume_driver": "a b",
    "storage_opt": "size",
    "memory": "1m",
    "memory_reservation": "much",
    "memory_swap": "-2",
    "memory_swappiness": "101",
    "cpus": "none",
    "cpu_shares": "1",
    "cpuset_cpus": "first",
    "cpuset_mems": "0-",
    "cpu_period": "1",
    "cpu_quota": "x",
    "cpu_rt_period": "-1",
    "cpu_rt_runtime": "x",
    "pids": "-2",
    "shm_size": "big",
    "oom_score_adj": "1001",
    "ulimits": "nofile=2:1",
    "device_read_bps": "/dev/sda:fast",
    "device_write_bps": "sda:1m",
    "device_read_iops": "/dev/sda:1m",
    "device_write_iops": "/dev/sda",
    "blkio_weight": "9",
    "blkio_weight_device": "/dev/sda:9",
    "restart": "sometimes",
    "health_cmd": '["a", 1]',
    "health_interval": "often",
    "health_timeout": "1y",
    "health_start_period": "x",
    "health_start_interval": "x",
    "health_retries": "0",
    "cap_add": "NET ADMIN",
    "cap_drop": "42",
    "devices": "null",
    "device_rules": "c 188",
    "sysctls": "net",
    "security_opt": "seccomp",
    "userns_mode": "Host",
    "pid_mode": "container:",
    "ipc_mode": "shared",
    "uts_mode": "yes",
    "cgroupns_mode": "yes",
    "runtime": "a b",
    "annotations": "key",
    "platform": "Linux ARM",
    "log_driver": "a b",
    "log_opts": "max-size",
    "cgroup_parent": "",
}


def test_every_field_says_in_itself_what_is_wrong_with_it() -> None:
    """All but boxes, and a path that may be any text."""
    texts = {name for name, field in RunForm.base_fields.items() if not isinstance(field, BooleanField)}
    assert WRONG.keys() == texts
    form = RunForm(sent(texts_of({}), **WRONG), base={})
    assert set(form.errors) == texts - {"cgroup_parent"}
    alone = RunForm(sent(WRONG))  # as while typing
    assert alone.errors == form.errors
    long = RunForm({"image": "shop:1", "env": "A=" + "x" * (1 << 20), "user": "x" * 256})
    assert long.errors["env"] == ["This is too long: 262144 characters at most."]
    assert long.errors["user"] == ["This is too long: 255 characters at most."]


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("memory_swap", {"memory_swap": "1g"}),
        ("memory_swap", {"memory": "1g", "memory_swap": "64m"}),
        ("memory_reservation", {"memory": "64m", "memory_reservation": "1g"}),
        ("cpus", {"cpus": "1", "cpu_quota": "50000"}),
        ("auto_remove", {"auto_remove": "on", "restart": "always"}),
    ],
)
def test_what_does_not_fit_together_is_said_at_one_of_the_two(field: str, typed: dict[str, str]) -> None:
    assert list(RunForm({"image": "shop:1", **typed}).errors) == [field]


def test_nobody_is_told_off_for_what_stood_there_before() -> None:
    base = {
        **BASE,
        "HostConfig": {**BASE["HostConfig"], "Memory": 1, "MemoryReservation": 9, "PidMode": "odd"},
    }
    form = RunForm(sent(texts_of(base), env="A=3"), base=base)
    assert form.is_valid(), form.errors


HOSTILE = ["<script>alert(1)</script>", "\u202egnp.exe", "\x1b]52;c;eA==\x07", "a\u2028b", "\ufeff", "\x85"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_values_come_through_as_they_are(text: str) -> None:
    form = RunForm(
        {"image": "shop:1", "env": f"A={text}", "labels": f"k={text}", "command": shlex.quote(text)}
    )
    assert form.is_valid(), form.errors
    body = form.body()
    assert (body["Env"], body["Labels"], body["Cmd"]) == ([f"A={text.strip()}"], {"k": text.strip()}, [text])


def test_no_field_takes_a_nul() -> None:
    for name, field in RunForm.base_fields.items():
        if not isinstance(field, BooleanField):
            assert name in RunForm({"image": "shop:1", name: "a=/b\0"}).errors, name


DOT_ENV = """\ufeff# made by hand\r
export A=1\r
\texport  B="two words"   # a comment\r
C='it''s'\r
D="first
second \\"quoted\\" \\n third"\r
E='one
two'
F=x # kept: docker keeps it
G=
 H = spaced
A=2
J
"""


def test_a_pasted_env_file_is_read_as_it_stands() -> None:
    form = RunForm({"image": "shop:1", "env": DOT_ENV})
    assert form.is_valid(), form.errors
    assert form.cleaned_data["env"] == [
        "A=2", "B=two words", "C='it''s'", 'D=first\nsecond "quoted" \n third', "E=one\ntwo",
        "F=x # kept: docker keeps it", "G=", "H=spaced", "J",
    ]  # fmt: skip
    assert form.remarks() == {
        "env": [
            "There more than once, and the last one counts: A.",
            "Without = there is no value, and the image's own is taken away: J.",
        ]
    }
    again, _notes = runline.read(runline.line_of({"image": "shop:1", "env": DOT_ENV.replace("\nJ\n", "")}))
    assert parse_env(again["env"]) == form.cleaned_data["env"][:-1]


@pytest.mark.parametrize("text", ['A="never', "A='never\nB=1", 'OK=1\nA="x\\"\n'])
def test_a_quotation_mark_that_is_never_closed_is_named(text: str) -> None:
    form = RunForm({"image": "shop:1", "env": text})
    assert "never closed" in form.errors["env"][0]
    assert form.remarks() == {}


# Lines of docker run


LINE = """$ sudo docker run -d --name web --rm=false -itp 8080:80 -e A=1 --env 'B=x y' --label=team=shop \\
  -v data:/data --network shop --network-alias www --ip 10.0.0.9 --restart=on-failure:3 -m 64m --cpus=.5 \\
  --mount type=bind,src=/a,dst=/b,ro --ulimit nofile=1:2 --health-cmd 'curl -f http://x' --gpus all \\
  --env-file .env -e HOME --frobnicate=1 -v $(pwd):/src --entrypoint sh nginx:1 -c 'echo "$X"'"""


def test_a_pasted_line_fills_the_form_and_names_what_it_cannot_take() -> None:
    fields, notes = runline.read(LINE)
    assert fields == {
        "name": "web",
        "auto_remove": False,
        "tty": True,
        "open_stdin": True,
        "ports": "8080:80",
        "env": "A=1\nB=x y",
        "labels": "team=shop",
        "volumes": "data:/data\n$(pwd):/src",
        "mounts": "type=bind,source=/a,target=/b,readonly",
        "network": "shop alias=www ip=10.0.0.9",
        "restart": "on-failure:3",
        "memory": "64m",
        "cpus": ".5",
        "ulimits": "nofile=1:2",
        "health_cmd": "curl -f http://x",
        "entrypoint": "sh",
        "image": "nginx:1",
        "command": "-c 'echo \"$X\"'",
    }
    words = " ".join(notes)
    for named in ("--gpus all", "--env-file .env", "-e HOME", "--frobnicate=1", "$(pwd)"):
        assert named in words, named
    assert len(notes) == 5  # 'echo "$X"' is said to no shell
    assert any("--gpus all" in note and "graphics" in note for note in notes)


@pytest.mark.parametrize(
    "line", ["", "ls -l", "docker ps", "docker run", "docker run -d", "docker run 'x", "docker run --name"]
)
def test_what_is_no_such_line_says_so(line: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        runline.read(line)


@pytest.mark.parametrize(
    "line",
    [
        "docker run -d -p 80:80 nginx:1",
        "docker run ^\r\n  -d ^\r\n  -p 80:80 ^\r\n  nginx:1",
        "docker run `\n  -d `\n  -p 80:80 `\n  nginx:1",
        "docker run \\  \n-d -p 80:80 nginx:1",
        "# docker run -p80:80 nginx:1",
        "\n\n  docker run -p=80:80 nginx:1\n",
        "sudo -E -u root docker run -p 80:80 nginx:1",
        "time docker create --publish=80:80 nginx:1",
        "env A=1 /usr/bin/docker run --publish '80:80' nginx:1",
        '& "C:\\\\Program Files\\\\docker.exe" container run -p "80:80" nginx:1',
        "nerdctl run -p 80:80 nginx:1",
        "run -p 80:80 nginx:1",
    ],
)
def test_a_line_in_any_notation(line: str) -> None:
    assert runline.read(line) == ({"ports": "80:80", "image": "nginx:1"}, [])


@pytest.mark.parametrize(
    ("line", "named", "fields"),
    [
        ('-v "$PWD:/src" -u $(id -u):$(id -g) i', "$PWD, $(id -u), $(id -g)", {"user": "$(id -u):$(id -g)"}),
        ("-e A=${B:-c d} -v `pwd`/x:/x i", "${B:-c d}, `pwd`", {"env": "A=${B:-c d}"}),
        ("-e A=$env:HOME -v %cd%:/x i", "$env:HOME, %cd%", {"env": "A=$env:HOME"}),
        ("-e 'A=$B' -e C=\\$D -e E='`x`' i", "", {"env": "A=$B\nC=$D\nE=`x`"}),
        ("i a > log 2>&1", "“> log 2>&1” belongs to the shell", {"command": "a"}),
        ("i a 2>/dev/null", "“2>/dev/null”", {"command": "a"}),
        ("i && docker ps", "“&& docker ps”", {}),
        ("i\ndocker ps", "“docker ps”", {}),
        ("--secret s --pod p --rmi i", "only Podman knows it", {}),
        ("--env-file .env --label-file l i", "paste what is in the file", {}),
        ("--security-opt seccomp=p.json i", "seccomp=p.json was not taken", {}),
        ("--device vendor.com/gpu=all i", "no CDI devices", {}),
        ("--privileged=perhaps i", "it is true or false", {}),
        ("--pull always i", "--pull always was not taken", {}),
        ("--use-api-socket i", "the engine's own socket", {}),
        ("--storage-opt size=1G i", "refuses it", {"storage_opt": "size=1G"}),
        ("--network name=n,colour=red i", "colour=red is not known here", {"network": "n"}),
        ("-z i", "-z is not known here", {}),
    ],
)
def test_what_a_line_cannot_fill_in_is_named(line: str, named: str, fields: dict[str, Any]) -> None:
    found, notes = runline.read(f"docker run {line}")
    assert named in " ".join(notes)
    assert bool(notes) == bool(named)
    assert found.pop("image") == "i"
    assert {name: found.get(name) for name in fields} == fields


def test_a_line_for_another_engine_says_where_it_runs() -> None:
    fields, notes = runline.read("docker -H tcp://there:2375 --context=far run -d i")
    assert fields == {"image": "i"}
    assert [note.partition(" was not")[0] for note in notes] == ["-H tcp://there:2375", "--context=far"]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text("ab c'\"\\\t\n", max_size=30))
def test_words_are_cut_as_a_shell_would(text: str) -> None:
    text = text.replace("\n", "\\\n")  # a line that goes on, or a backslash and a line that ends
    try:
        expected = shlex.split(text.replace("\\\n", ""))
    except ValueError:
        return
    if "\\\\\n" not in text and "'" not in text:
        assert shellwords.split(text).words == expected


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.text(max_size=12), max_size=4))
def test_quoted_words_come_back(words: list[str]) -> None:
    assert shellwords.split(shlex.join(words)).words == words


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(max_size=80))
def test_reading_never_fails_otherwise(text: str) -> None:
    try:
        runline.read(f"docker run {text}")
    except ValueError:
        pass


@settings(max_examples=40, deadline=None, derandomize=True)
@given(asked())
def test_a_line_written_and_read_is_the_same_container(body: dict[str, Any]) -> None:
    body.pop("MacAddress", None)
    texts = texts_of(body)
    fields, notes = runline.read(runline.line_of(texts))
    assert not [note for note in notes if "$" not in note and "--storage-opt" not in note]
    form = RunForm(sent({**texts_of({}), **fields}), base={})
    assert form.is_valid(), form.errors
    first, *more = body.get("Entrypoint") or [None]
    expected = RunForm(sent(texts), base={})
    assert expected.is_valid()
    made, wanted = form.body(), expected.body()
    if first is not None:  # the line's first word alone is the entrypoint
        assert made.pop("Entrypoint") + (made.pop("Cmd", None) or []) == [
            first,
            *more,
            *(body.get("Cmd") or []),
        ]
        wanted.pop("Entrypoint"), wanted.pop("Cmd", None)
    assert made == wanted


def test_an_overlay_never_changes_its_base() -> None:
    before = json.dumps(BASE)
    overlay(BASE, {name: None for name in FIELDS})
    assert json.dumps(BASE) == before
