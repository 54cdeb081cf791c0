"""The options that describe a container, as ``run`` and ``create`` list them; ``update`` shares the limits.

Spec: the option texts follow the docker command line.
"""

from __future__ import annotations

import argparse
from typing import Any


def container_options(parser: argparse.ArgumentParser) -> None:
    """Everything that describes a container, without image and command."""

    def text(*flags: str, **more: Any) -> None:
        parser.add_argument(*flags, **more)

    def many(*flags: str, **more: Any) -> None:
        parser.add_argument(*flags, action="append", default=[], **more)

    def switch(*flags: str, **more: Any) -> None:
        parser.add_argument(*flags, action="store_true", **more)

    text("--name", help="name of the container")
    switch("-i", "--interactive", help="keep its standard input open")
    switch("-t", "--tty", help="give it a terminal")
    many(
        "-a", "--attach", metavar="STREAM", choices=["stdin", "stdout", "stderr", "STDIN", "STDOUT", "STDERR"]
    )
    switch("--rm", help="remove it when it has ended")
    many("-e", "--env", metavar="KEY=VALUE", help="set a variable; without =VALUE it is copied from here")
    many("--env-file", metavar="FILE", help="variables, one a line")
    text("-w", "--workdir", metavar="DIR", help="working directory")
    text("-u", "--user", metavar="USER[:GROUP]", help="whom the command runs as")
    many("--group-add", metavar="GROUP")
    many("-l", "--label", metavar="KEY=VALUE", help="set a label")
    many("--label-file", metavar="FILE", help="labels, one a line")
    many("--annotation", metavar="KEY=VALUE")
    text("-h", "--hostname", metavar="NAME", help="its host name")
    text("--domainname", metavar="NAME")
    text("--entrypoint", metavar="COMMAND", help="replaces the image's entry point; empty for none")
    text("--restart", metavar="POLICY", default="", help="no, always, unless-stopped or on-failure[:N]")
    text("--stop-signal", metavar="SIGNAL")
    text("--stop-timeout", type=int, metavar="SECONDS")
    switch("--init", help="run a small init that collects dead processes")
    # limits
    limit_options(parser)
    text("--memory-swappiness", type=int, metavar="0-100")
    many("--blkio-weight-device", metavar="PATH:WEIGHT")
    many("--device-read-bps", metavar="PATH:SIZE", help="bytes it may read from a disk in a second")
    many("--device-write-bps", metavar="PATH:SIZE", help="bytes it may write in a second")
    many("--device-read-iops", metavar="PATH:NUMBER", help="reads in a second")
    many("--device-write-iops", metavar="PATH:NUMBER", help="writes in a second")
    text("--shm-size", metavar="SIZE", help="size of /dev/shm")
    many("--ulimit", metavar="NAME=SOFT[:HARD]", help="limits per process, like nofile=1024")
    text("--oom-score-adj", type=int)
    switch("--oom-kill-disable")
    # network
    many("-p", "--publish", metavar="[[IP:]HOST:]PORT[/PROTO]", help="publish a port on this machine")
    switch("-P", "--publish-all", help="publish every exposed port on a free one")
    many("--expose", metavar="PORT[/PROTO]")
    many(
        "--network",
        "--net",
        metavar="NETWORK",
        help="network, none, host or container:NAME; or name=NETWORK,alias=…,ip=…,ip6=…,mac-address=…",
    )
    many("--network-alias", "--net-alias", metavar="NAME")
    text("--ip", metavar="ADDRESS")
    text("--ip6", metavar="ADDRESS")
    many("--link-local-ip", metavar="ADDRESS")
    text("--mac-address", metavar="ADDRESS")
    many("--link", metavar="CONTAINER[:ALIAS]")
    many("--dns", metavar="ADDRESS")
    many("--dns-search", metavar="DOMAIN")
    many("--dns-option", metavar="OPTION")
    many("--add-host", metavar="NAME:ADDRESS")
    # files
    many("-v", "--volume", metavar="SOURCE:PATH[:OPTIONS]", help="mount a volume or directory")
    many("--mount", metavar="KEY=VALUE,…", help="type=bind|volume|tmpfs,source=…,target=…")
    many("--tmpfs", metavar="PATH[:OPTIONS]")
    many("--volumes-from", metavar="CONTAINER")
    text("--volume-driver", metavar="DRIVER")
    switch("--read-only", help="mount the root file system read-only")
    many("--device", metavar="PATH[:PATH[:RIGHTS]]")
    many("--device-cgroup-rule", metavar="RULE", help="devices it may use, like 'c 1:3 rwm'")
    text("--gpus", metavar="REQUEST", help="a number, all, or device=…,capabilities=…")
    many("--storage-opt", metavar="KEY=VALUE")
    # rights
    switch("--privileged", help="give every right; as good as being root on this machine")
    many("--cap-add", metavar="CAPABILITY")
    many("--cap-drop", metavar="CAPABILITY")
    many("--security-opt", metavar="OPTION")
    text("--userns", default="", metavar="MODE")
    text("--pid", default="", metavar="MODE")
    text("--ipc", default="", metavar="MODE")
    text("--uts", default="", metavar="MODE")
    text("--cgroupns", default="", metavar="MODE")
    text("--cgroup-parent", default="", metavar="PATH")
    many("--sysctl", metavar="KEY=VALUE")
    text("--runtime", metavar="NAME", default="")
    text("--isolation", metavar="KIND", default="", help="only default exists here")
    # health
    text("--health-cmd", metavar="COMMAND")
    text("--health-interval", metavar="TIME")
    text("--health-timeout", metavar="TIME")
    text("--health-start-period", metavar="TIME")
    text("--health-start-interval", metavar="TIME")
    text("--health-retries", type=int, metavar="N")
    switch("--no-healthcheck")
    # logs
    text("--log-driver", metavar="DRIVER", default="")
    many("--log-opt", metavar="KEY=VALUE")
    # the image
    text("--platform", metavar="OS/ARCH")
    text("--pull", choices=["always", "missing", "never"], default="missing")
    switch("-q", "--quiet", help="no progress while the image is fetched")
    switch("--disable-content-trust", help=argparse.SUPPRESS)  # Docker's notary; it has nothing to do here
    text("--cidfile", metavar="FILE", help="write the id there")


def limit_options(parser: argparse.ArgumentParser) -> None:
    """The limits that can be changed later, too."""

    def text(*flags: str, **more: Any) -> None:
        parser.add_argument(*flags, **more)

    text("-m", "--memory", metavar="SIZE", help="limit of memory, like 512m")
    text("--memory-swap", metavar="SIZE", help="limit of memory and swap together; -1 for any amount")
    text("--memory-reservation", metavar="SIZE")
    text("--kernel-memory", metavar="SIZE", help="without effect on today's kernels; the engine says so")
    text("--cpus", metavar="NUMBER", help="how many processors' worth of time, like 1.5")
    text("-c", "--cpu-shares", type=int, metavar="WEIGHT")
    text("--cpu-period", type=int, metavar="MICROSECONDS")
    text("--cpu-quota", type=int, metavar="MICROSECONDS")
    text("--cpu-rt-period", type=int, metavar="MICROSECONDS")
    text("--cpu-rt-runtime", type=int, metavar="MICROSECONDS")
    text("--cpuset-cpus", metavar="LIST", help="the processors it may use, like 0-1")
    text("--cpuset-mems", metavar="LIST")
    text("--pids-limit", type=int, metavar="NUMBER", help="limit of processes; -1 for any number")
    text("--blkio-weight", type=int, metavar="10-1000")
