"""A shell of an installation's web user, as a web process that was taken over has it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from typing import Any

from tests.integration.installation import Installation
from webdock.cli.users import as_web_user

TIMEOUT_S = 60
DEPTH = 3  # of directories that are looked at one by one; what is below is reached through them

# Standard library only, so that they run as anybody; each prints what came of its attempts.
CONNECT = """
import json, socket, sys
answers = []
for path in sys.argv[1:]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        answers.append("connected")
    except OSError as error:
        answers.append(type(error).__name__)
print(json.dumps(answers))
"""
ASK = """
import http.client, json, socket, sys
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sys.argv[1])
answers = []
for method, path, body in json.load(sys.stdin):
    one = Connection("engine", timeout=30)
    headers = {"Content-Type": "application/json"}
    one.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = one.getresponse()
    answers.append([answer.status, answer.read(4000).decode(errors="replace")])
    one.close()
print(json.dumps(answers))
"""
OPEN = """
import json, os, sys
answers = []
for path in sys.argv[1:]:
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1)
        answers.append("read")
    except OSError as error:
        answers.append(type(error).__name__)
print(json.dumps(answers))
"""
#: Reads {"paths": […], "pids": […]}; what of them could be read, listed, written, connected to, signalled.
TRESPASS = """
import json, os, socket, sys
tried = json.load(sys.stdin)
got = []
def attempt(what, act):
    try:
        act()
    except OSError:
        return
    got.append(what)
def use(path, flags):
    fd = os.open(path, flags | os.O_NONBLOCK)
    try:
        return os.listdir(fd) if os.path.isdir(path) else os.read(fd, 1)
    finally:
        os.close(fd)
for path in tried["paths"]:
    attempt("read " + path, lambda: use(path, os.O_RDONLY))
    attempt("write " + path, lambda: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK)))
    attempt("connect " + path, lambda: socket.socket(socket.AF_UNIX).connect(path))
    attempt("make " + path, lambda: os.close(os.open(path + "/new", os.O_CREAT | os.O_WRONLY, 0o600)))
for pid in tried["pids"]:
    attempt(f"signal {pid}", lambda: os.kill(pid, 0))
    for name in ("environ", "mem", "maps", "fd", "root/etc"):
        attempt(f"{name} of {pid}", lambda: use(f"/proc/{pid}/{name}", os.O_RDONLY))
print(json.dumps(got))
"""


def as_web(installation: Installation, script: str, *arguments: str, said: str = "") -> Any:
    """What a script of the installation's web user printed."""
    done = subprocess.run(
        as_web_user(
            installation.web_user, ["/usr/bin/python3", "-I", "-W", "ignore", "-c", script, *arguments]
        ),
        input=said,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask(installation: Installation, *requests: tuple[str, str, Any]) -> list[tuple[int, str]]:
    found = as_web(installation, ASK, str(installation.run / "web.sock"), said=json.dumps(requests))
    return [(status, text) for status, text in found]


def trespasses(intruder: Installation, other: Installation, pids: Iterable[int]) -> list[str]:
    """What the one's web user gets at when it knows every path of the other one and some of its processes."""
    paths = [str(other.home), str(other.run)]
    for top in (other.home, other.run):
        for directory, directories, names in os.walk(top):
            if directory.count("/") - str(top).count("/") >= DEPTH:
                directories.clear()
            paths += [os.path.join(directory, name) for name in (*directories, *names)]
    return [
        str(what) for what in as_web(intruder, TRESPASS, said=json.dumps({"paths": paths, "pids": [*pids]}))
    ]
