"""Our client and Docker's send the same request for the same line, option for option."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.recorder import Asked, Recorder, recorder
from webdock.cli import command

DOCKER = "/usr/bin/docker"  # the distribution's, of the generation these lines are written for

CREATE = """
i
-it --rm=true i sh -c 'x y'
-i=false -t=true --init=1 i
-a stdout i a b
-a stdin -i i
--blkio-weight 300 --blkio-weight-device /dev/sda:200 --device-read-bps /dev/sda:1mb i
--device-write-bps /dev/sda:10 --device-read-iops /dev/sda:100 --device-write-iops /dev/sda:200 i
--cpu-rt-period 1000000 --cpu-rt-runtime 950000 --memory-swappiness 10 --kernel-memory 64m i
--memory-swap -1 --pids-limit -1 --memory-swappiness -1 i
-m 1.5g --memory-swap 2g --memory-reservation 1m --cpus 1.5 --cpuset-cpus 0-1 --cpuset-mems 0 i
--cpu-period 1000 --cpu-quota 2000 -c 3 --pids-limit 5 --shm-size 1m --oom-score-adj 5 --oom-kill-disable i
--device /dev/fuse --device /dev/null:/dev/x:rw --device /dev/zero:rw --device-cgroup-rule 'c 1:3 rwm' i
--ulimit nofile=1:2 --ulimit core=5 i
--gpus all i
--gpus 2 i
--gpus device=0,capabilities=utility i
--gpus '"device=0,1",driver=nvidia' i
--isolation default --disable-content-trust=true --disable-content-trust i
--network lab --link-local-ip 169.254.1.2 --ip 10.0.0.2 --ip6 fd::1 --network-alias x --link a:b i
--network name=lab,alias=x,alias=y,driver-opt=a=b i
--network name=lab,ip=10.0.0.1,ip6=fd::1 --network-alias q i
--network a --network-alias q --network b --network name=c,alias=z i
--network lab i
--network host -p 80:80 i
--network container:x i
-p 80 -p 127.0.0.1:8080-8081:80-81/udp --expose 90-91 -p 9000-9010:7 -P i
-v /data -v name:/x:ro -v /srv:/srv:rslave i
--mount type=volume,src=v,dst=/d,volume-driver=local,volume-opt=a=b,volume-label=k=v,volume-nocopy,ro i
--mount type=bind,src=/srv,dst=/d,bind-propagation=rshared,bind-nonrecursive,consistency=cached i
--mount '"type=volume","dst=/d","volume-opt=o=a,b"' --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777 i
--tmpfs /t:size=1m --tmpfs /u --volumes-from c:ro --volume-driver dd --read-only --storage-opt size=1 i
--health-cmd true --health-interval 1m5s --health-retries 2 --health-timeout 1s --health-start-period 2s i
--no-healthcheck --link c:d --env A=b -e C= -e LANG_NOT_SET_HERE -e HOME i
--restart on-failure:3 --pid host --ipc shareable --uts host --userns host --cgroupns private i
--cgroup-parent p --sysctl net.core.somaxconn=5 --runtime r --pid container:y i
--log-driver json-file --log-opt max-size=1m --label a=b --label c -l d=e=f i
--stop-signal TERM --stop-timeout 3 --domainname d -h h --platform linux/amd64 --name n i
--entrypoint '' -w /w -u u:g --group-add g --privileged i
--entrypoint /bin/x --dns 1.1.1.1 --dns-search d --dns-option o --add-host a:1.1.1.1 i -- --rm
--cap-add A --cap-drop B --security-opt no-new-privileges --security-opt seccomp=unconfined i
"""

OTHERS = """
update --cpu-rt-period 1 --cpu-rt-runtime 2 --kernel-memory 3m --restart always c
update -m 1g --memory-swap -1 --cpus 0.5 --pids-limit 7 --blkio-weight 10 --cpuset-cpus 0 c
network create n
network create --attachable --opt o=p --label l=m --internal --ipam-opt x=y --scope local n
network create --subnet 10.0.0.0/16 --subnet fd00::/64 --gateway fd00::1 --aux-address a=10.0.0.5 --ipv6 n
network create --subnet 10.0.0.0/16 --ip-range 10.0.1.0/24 --gateway 10.0.0.1 --ipam-driver other n
network create --config-only --ingress n
network create --config-from other n
network connect n c
network connect --driver-opt a=b --link-local-ip 169.254.1.1 --ip 10.0.0.1 --alias a --link b:c n c
network connect --ip6 fd::1 n c
network inspect -v n
commit --pause=false -m m -a a -c 'CMD x' c r:t
commit -p c
volume create --opt a=b --label c=d v
system prune -f -a --volumes
system prune -f
container prune -f
network prune -f
"""

#: Where Docker's later clients, whom we follow, ask for more than this generation does.
NOT_COMPARED = {"POST /build/prune"}
#: Docker's client keeps these in maps: their order is another each time.
UNORDERED = ("Ulimits", "Binds", "Env", "Config")
DEFAULTS: tuple[Any, ...] = (None, "", 0, False, [], {}, [0, 0])


def lines(text: str, verb: str = "") -> list[str]:
    return [f"{verb} {line}".strip() for line in text.splitlines() if line]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    with recorder(tmp_path_factory.mktemp("recorder")) as one:
        yield one


@pytest.mark.parametrize("line", lines(CREATE, "create") + lines(OTHERS))
def test_both_clients_ask_for_the_same(
    line: str, engine: Recorder, capfd: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(line)
    environ = {**os.environ, "DOCKER_HOST": engine.host, "DOCKER_CONTENT_TRUST": ""}
    done = subprocess.run(
        [DOCKER, *words], env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    theirs = engine.take()
    assert command.run(["--host", engine.host, *words]) == 0, capfd.readouterr().err
    assert said(engine.take()) == said(theirs)


def said(asked: list[Asked]) -> list[tuple[str, Any, Any]]:
    """Requests without what is said by leaving it out."""
    return [(one.line, query_of(one), whole(one.body)) for one in asked if one.line not in NOT_COMPARED]


def query_of(asked: Asked) -> dict[str, Any]:
    """The query; "pause" is yes unless it is no, and filters are compared where they choose something."""
    query: dict[str, Any] = {key: value for key, value in asked.query.items() if value != [""]}
    if query.get("pause") == ["1"]:
        del query["pause"]
    if query.get("verbose"):
        query["verbose"] = ["1"]
    query.pop("filters", None)
    return query


def whole(value: Any, name: str = "") -> Any:
    """A body without empty values, shuffled lists in order; endpoints and keys of sets are kept even so."""
    if not isinstance(value, dict):
        return sorted(value, key=str) if name in UNORDERED and value else value
    kept = {key: whole(item, key) for key, item in value.items()}
    if kept.get("MemorySwappiness") == -1:  # Docker's way to say nothing
        del kept["MemorySwappiness"]
    if name in ("EndpointsConfig", "ExposedPorts", "Volumes", "PortBindings", "Labels", "Tmpfs"):
        return kept
    return {key: item for key, item in kept.items() if item not in DEFAULTS}
