"""A pasted ``docker run`` line and the stock client ask the engine for the same container.

The client runs against a socket that writes down what is asked and refuses it.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from containers_app import runline
from containers_app.fields import texts_of
from containers_app.forms import RunForm

SHELL = 'sudo() { "$@"; }; podman() { docker "$@"; }; '
CLIENT_S = 60
# What only a client's terminal decides, or what says what an engine takes for granted.
OF_THE_TERMINAL = (
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "StdinOnce",
    "ConsoleSize",
    "ContainerIDFile",
)
TAKEN_FOR_GRANTED = {
    "MemorySwappiness": -1,
    "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    "NetworkMode": "bridge",
}
OPTIONS = """
--name web
--name=web --hostname box --domainname example.org
-h box
-e A=1 --env B=2 --env=C=3 -eD=4
-e 'TWO=a b' -e "QUOTED='x'" -e EMPTY= -e EQUALS=a=b -e 'HASH=a #b' -e 'QUOTE="' -e SPACE='  x '
-l team=shop --label a=b --label=c= -l bare
-p 8080:80 -p 127.0.0.1:81:81/udp -p 82 -p [::1]:83:83 -p 9000-9002:9000-9002 -p 127.0.0.1::84 -p 7000-7001:85
-p8080:80/tcp -P --expose 90 --expose 91/udp --expose 92-94
-v data:/data -v /srv:/srv:ro -v /only --volume named:/n:ro,z --volume-driver local
-v /a:/b:rshared --volumes-from web --volumes-from db:ro
--mount type=bind,src=/a,dst=/b,ro --mount type=volume,source=v,target=/v,volume-nocopy
--mount type=tmpfs,destination=/t,tmpfs-size=64m,tmpfs-mode=1770 --tmpfs /run:size=1m --tmpfs /tmp
--mount 'type=volume,target=/v,volume-opt=type=nfs,"volume-opt=o=addr=1,rw",volume-label=x=y'
--mount type=bind,source=/a,target=/b,bind-propagation=rslave,bind-recursive=disabled
--network shop --network-alias www --network-alias web --ip 10.0.0.9 --ip6 fd00::9
--network shop --mac-address 02:00:00:00:00:09 --link-local-ip 169.254.1.1
--network name=shop,alias=a,alias=b,ip=10.0.0.9,driver-opt=k=v,gw-priority=5,mac-address=02:00:00:00:00:08
--network alias=web,name=shop --net other
--network host
--net=none
--network container:web
--network bridge
--link db:database --link cache
--network shop --link db:database
--add-host db:10.0.0.5 --add-host=cache=10.0.0.6 --add-host six:[fd00::1] --add-host h=host-gateway
--dns 10.0.0.53 --dns-search example.org --dns-option ndots:2 --dns-opt timeout:1
--restart always
--restart on-failure:3
--restart=unless-stopped --stop-signal SIGINT --stop-timeout 0
--memory 64m --memory-reservation 32m --memory-swap -1 --memory-swappiness 0
-m 1.5g --memory-swap 2GB --shm-size 64MiB --kernel-memory 50m
-m 67108864 --oom-kill-disable --oom-score-adj -500
--cpus 1.5 -c 512 --cpuset-cpus 0-1 --cpuset-mems 0
--cpus=.5
--cpu-shares=256 --cpu-period 50000 --cpu-quota 25000 --cpu-rt-period 1000000 --cpu-rt-runtime 950000
--pids-limit 99 --ulimit nofile=1024:2048 --ulimit nproc=5 --ulimit core=-1 --cgroup-parent /shop
--pids-limit -1 --cgroupns private --cgroupns=host
--blkio-weight 300 --blkio-weight-device /dev/null:400 --device-read-bps /dev/null:1mb
--device-write-bps /dev/null:2048 --volume-driver local
--device-read-iops /dev/null:10 --device-write-iops=/dev/null:20
--health-cmd 'curl -f http://localhost || exit 1' --health-interval 1m30s --health-timeout 500ms
--health-cmd true --health-retries 3
--health-cmd='[ -f /ok ]' --health-start-period 2h --health-start-interval 5s
--no-healthcheck
--cap-add NET_ADMIN --cap-add=SYS_TIME --cap-drop ALL
--cap-drop mknod --privileged --privileged=false
--privileged --init --read-only --rm
--device /dev/null --device /dev/null:/dev/x --device /dev/null:/dev/y:r --device=/dev/zero:rw
--device-cgroup-rule 'c 188:* rwm' --sysctl net.core.somaxconn=1024 --group-add audio --group-add 29
--security-opt no-new-privileges --security-opt apparmor=unconfined --security-opt label:disable
--security-opt seccomp=unconfined --security-opt systempaths=unconfined
--pid host --ipc host --uts host --userns host
--pid container:web --ipc=container:web
--ipc shareable --runtime crun
--annotation a.b/c=d --annotation e=f=g --storage-opt size=20G --platform linux/arm64
--log-driver json-file --log-opt max-size=10m --log-opt=max-file=3
--user 1000:1000 --workdir /srv -u 0
-w=/srv -uroot
--entrypoint /bin/sh
--entrypoint ''
--entrypoint=
-itd --sig-proxy=false --detach-keys ctrl-x --pull never -q --disable-content-trust
-a stdout --attach stderr --cidfile=$HOME/cid
-d=false -t=true -i=0
-itdP
-itde A=1
-itdw /srv
--isolation default --gpus all
--tty --detach --interactive --
""".strip().splitlines()
LINES = [
    *(f"docker run {options} shop:1" for options in OPTIONS),
    "docker run shop:1 sh -c 'echo \"$X\" && exit 1'",
    'docker run shop:1 echo "a b" c\\ d -e NOT=taken --name no',
    'docker run -e "ESCAPED=\\"x\\" \\$Y \\z" -e \'SINGLE=\\n\' shop:1',
    "docker run --entrypoint sh shop:1 -c 'sleep 1'",
    "docker run \\\n  -d \\\n  --name web \\\n  -p 80:80 \\\n  shop:1",
    "docker run -d --na\\\nme web shop:1",
    "docker container run -d shop:1",
    "docker --log-level error run -d shop:1",
    "sudo docker run -d shop:1",
    "podman run -d shop:1",
    "A=1 docker run -d shop:1",
    "docker run registry.example:5000/team/shop@sha256:" + "0" * 64,
    "docker run -d shop:1 > /dev/null",
    "docker run -d shop:1 2>&1 | cat",
    "docker run -d shop:1 && true; true",
    "docker run -d 'shop:1' arg';' \"a|b\" '&&'",
]


class Recorder(http.server.BaseHTTPRequestHandler):
    """An engine that refuses everything, and keeps what it was asked to make."""

    protocol_version = "HTTP/1.1"
    server: Server

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in (("Api-Version", "1.47"), ("Ostype", "linux"), ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self._answer(200, {})

    do_GET = do_HEAD

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.path, json.loads(body)))
        self._answer(409, {"message": "written down"})

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Recorder)
        self.path = path
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def ask(self, line: str) -> tuple[dict[str, str], dict[str, Any]]:
        """(query, body) of the container the client asks for."""
        self.asked.clear()
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path.parent),
            "DOCKER_HOST": f"unix://{self.path}",
        }
        done = subprocess.run(
            ["bash", "-c", SHELL + line],
            env=environ,
            capture_output=True,
            text=True,
            timeout=CLIENT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert self.asked, f"{line}: {done.stderr}"
        path, body = self.asked[-1]
        return {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}, body


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    assert shutil.which("docker"), "this ring needs a docker client"
    with Server(tmp_path_factory.mktemp("recorder") / "docker.sock") as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """A create body in one spelling, without what is empty or an engine's own."""
    body = {key: value for key, value in body.items() if key not in OF_THE_TERMINAL}
    host = {key: value for key, value in body.pop("HostConfig", {}).items() if key not in OF_THE_TERMINAL}
    mode = {"default": "bridge", "": "bridge"}.get(host.get("NetworkMode") or "", host.get("NetworkMode"))
    host["NetworkMode"] = mode
    ends = dict((body.pop("NetworkingConfig", None) or {}).get("EndpointsConfig") or {})
    ends = {"bridge" if name == "default" else name: settings for name, settings in ends.items()}
    if body.get("MacAddress"):  # its older place
        ends.setdefault(mode, {})["MacAddress"] = body.pop("MacAddress")
    unmasked = [key for key in ("MaskedPaths", "ReadonlyPaths") if host.pop(key, None) == []]
    for key in ("CapAdd", "CapDrop"):
        host[key] = sorted(name.upper().removeprefix("CAP_") for name in host.get(key) or ())
    for place in (body, host):
        for key in place.keys() & {"Env", "Binds", "Ulimits"}:  # the client's are in any order
            place[key] = sorted(place[key] or (), key=lambda one: json.dumps(one, sort_keys=True))
    for key in ("DeviceRequests", "KernelMemory", "Isolation"):  # named by a note
        host.pop(key, None)
    host = {key: value for key, value in host.items() if TAKEN_FOR_GRANTED.get(key) != value}
    found = {"HostConfig": bare(host), "unmasked": unmasked, "ends": bare(ends), **bare(body)}
    if body.get("Entrypoint") == [""]:
        found["Entrypoint"] = [""]
    for key in ("MemorySwappiness", "StopTimeout"):  # where 0 says something
        place = body if key == "StopTimeout" else host
        if place.get(key) == 0:
            found[key] = 0
    return found


def bare(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: bare(one) for key, one in value.items()}
        return {key: one for key, one in kept.items() if key.startswith("/") or one not in MEANS_NOTHING}
    return [bare(one) for one in value] if isinstance(value, list) else value


MEANS_NOTHING: tuple[Any, ...] = (None, "", [], {}, False, 0)


def form_of(fields: dict[str, Any]) -> RunForm:
    whole = {**texts_of({}), "name": "", "platform": "", **fields}
    form = RunForm(
        {name: "on" if value is True else value for name, value in whole.items() if value is not False}
    )
    assert form.is_valid(), form.errors
    return form


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_a_line_asks_for_what_the_client_asks_for(server: Server, line: str) -> None:
    query, body = server.ask(line)
    fields, _notes = runline.read(line)
    form = form_of(fields)
    assert plain(form.body()) == plain(body)
    for name in ("name", "platform"):
        assert (form.cleaned_data[name] or "") == query.get(name, "")
    again, notes = runline.read(runline.line_of(form.data))
    assert form_of(again).body() == form.body()
    assert not [note for note in notes if "--storage-opt" not in note]


def test_every_option_of_the_client_is_taken_or_named() -> None:
    help_text = subprocess.run(
        ["docker", "run", "--help"], capture_output=True, text=True, check=True, timeout=CLIENT_S
    ).stdout
    silent = {
        "--detach", "--sig-proxy", "--quiet", "--disable-content-trust", "--pull", "--attach",
        "--detach-keys", "--cidfile",
    }  # fmt: skip
    for line in help_text.splitlines():
        words = line.replace(",", " ").split()
        option = next((word for word in words if word.startswith("--")), None)
        if not line.startswith("  ") or option is None or not line.strip().startswith("-"):
            continue
        fields, notes = runline.read(f"docker run {option}=1 shop:1")
        assert set(fields) - {"image"} or notes or option in silent, option
        assert not any("not known here" in note for note in notes), option
