"""Server time of the containers page, and how fast the projection takes in an engine full of containers.

.venv/bin/python -m bench.rows [CONTAINERS]
"""

from __future__ import annotations

import asyncio
import copy
import os
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDS = 60
FILLER_BYTES = 8_000  # what an inspect document of a real container weighs

DOCUMENT: dict[str, Any] = {
    "Created": "2026-01-02T03:04:05.5Z",
    "Path": "/usr/local/bin/docker-entrypoint.sh",
    "Args": ["nginx", "-g", "daemon off;"],
    "State": {"Status": "running", "Running": True, "StartedAt": "2026-01-02T03:04:06Z"},
    "Config": {"Image": "nginx:1.29-alpine", "Labels": {"com.example.team": "shop"}},
    "NetworkSettings": {
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": None},
        "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
    },
}


def documents(number: int) -> dict[str, dict[str, Any] | None]:
    """``number`` inspect documents, a third of them of containers that ended."""
    found: dict[str, dict[str, Any] | None] = {}
    for index in range(number):
        document = copy.deepcopy(DOCUMENT)
        id = secrets.token_hex(32)
        document |= {"Id": id, "Name": f"/service-{index}", "Image": "sha256:" + "1" * 64}
        document["Filler"] = "x" * FILLER_BYTES
        if index % 3 == 0:
            document["State"] |= {"Status": "exited", "ExitCode": 137, "FinishedAt": "2026-01-03T00:00:00Z"}
        found[id] = document
    return found


async def live_rows(number: int) -> None:
    """What an open page costs at each hint."""
    from django.http import QueryDict

    from containers_app.consumers import ContainerRowsConsumer
    from containers_app.models import Container
    from webdock.engines.threads import in_thread
    from webdock.people.roles import NAMES

    socket = ContainerRowsConsumer({"headers": []}, _nowhere)
    read = in_thread(socket.read)
    full = await read(QueryDict(""), 0, None, NAMES)
    for name, cursor in (("nothing changed", full.cursor), ("50 rows changed", 0)):
        began = time.process_time()
        for _n in range(ROUNDS):
            await read(QueryDict(""), cursor, full.order, NAMES)
        took = (time.process_time() - began) / ROUNDS * 1000
        print(f"live rows, {name}: {took:.1f} ms of processor for each open page")
    assert await Container.objects.acount() == number


async def _nowhere(message: dict[str, Any]) -> None:
    """A browser that is not there."""


async def measure(number: int) -> None:
    from django.contrib.auth.models import User
    from django.test import AsyncClient

    from containers_app.projection import apply
    from webdock.engines.models import Engine

    engine = await Engine.objects.acreate(alias="local", connected=True)
    seen = documents(number)
    began = time.perf_counter()
    await apply(engine, seen)
    took = time.perf_counter() - began
    print(f"projection: {number} new containers in {took * 1000:.0f} ms")
    began = time.perf_counter()
    await apply(engine, seen)
    took = time.perf_counter() - began
    print(f"projection: the same news again in {took * 1000:.0f} ms")
    await live_rows(number)
    browser = AsyncClient()
    await browser.aforce_login(await User.objects.acreate_superuser("admin"))
    for path in (
        "/containers/",
        "/containers/?state=running&sort=name",
        "/containers/?q=service-4&page=2",
        "/",
    ):
        times, cpu, size = [], time.process_time(), 0
        for _n in range(ROUNDS):
            began = time.perf_counter()
            answer = await browser.get(path)
            times.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 200, path
            size = len(answer.content)
        cpu = (time.process_time() - cpu) / ROUNDS * 1000
        rows = answer.content.count(b"<tr role=") - 1
        high = statistics.quantiles(times, n=20)[-1]
        print(
            f"{path}: {statistics.median(times):.1f} ms median, {high:.1f} ms at 95 %, "
            f"{cpu:.1f} ms of processor, "
            f"{rows} rows of {number}, {size / 1000:.0f} kB"
        )


def main() -> int:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory(prefix="webdock-bench-") as home:
        Path(home, "web").mkdir()
        os.environ |= {
            "WEBDOCK_HOME": home,
            "WEBDOCK_RUN": home,
            "WEBDOCK_ALLOWED_HOSTS": "testserver",
            "DJANGO_SETTINGS_MODULE": "webdock.settings",
        }
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        asyncio.run(measure(number))
    return 0


if __name__ == "__main__":
    sys.exit(main())
