"""GET /metrics: engine, host and every running container, for Prometheus.

Who asks shows the token of WEBDOCK_METRICS_TOKEN_FILE, or has a session of somebody who may see everything.
Containers are measured when asked.

Spec: Prometheus text exposition format 0.0.4.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from containers_app.listing import counts
from containers_app.models import SHORT_ID_CHARS, Container, TerminalSession, listed
from containers_app.rates import blocks, memory_used, network, usage
from containers_app.samples import samples
from images_app.models import Image
from runtime.api.client import EngineClient
from webdock import __version__
from webdock.engines.clients import client as client_of
from webdock.engines.host import engine_is_here, host
from webdock.engines.models import Engine, current_engine
from webdock.people.rights import PUBLIC, allowed, requires

CONTAINERS_MAX = 1000  # measured per question; the newest
TIMEOUT_S = 8.0  # Prometheus gives up after 10

Labels = list[str]
Measured = list[tuple[Labels, dict[str, Any]]]  # ([name, id, image], the engine's statistics)

CONTAINER = ["name", "id", "image"]
#: name, what it is, counter or gauge, of one statistics document
PER_CONTAINER = (
    ("cpu_seconds", "Processor time used.", CounterMetricFamily, lambda s: usage(s) / 1e9),
    ("memory_bytes", "Memory in use, without page cache.", GaugeMetricFamily, lambda s: memory_used(s)),
    ("memory_limit_bytes", "Memory limit.", GaugeMetricFamily, lambda s: _of(s, "memory_stats", "limit")),
    ("pids", "Processes and threads.", GaugeMetricFamily, lambda s: _of(s, "pids_stats", "current")),
    ("network_receive_bytes", "Bytes received.", CounterMetricFamily, lambda s: network(s)[0]),
    ("network_transmit_bytes", "Bytes sent.", CounterMetricFamily, lambda s: network(s)[1]),
    ("block_read_bytes", "Bytes read from disks.", CounterMetricFamily, lambda s: blocks(s)[0]),
    ("block_write_bytes", "Bytes written to disks.", CounterMetricFamily, lambda s: blocks(s)[1]),
)


def _of(sample: dict[str, Any], group: str, key: str) -> int:
    return int((sample.get(group) or {}).get(key) or 0)


@requires(PUBLIC)
@require_GET
async def metrics(request: HttpRequest) -> HttpResponse:
    """The page Prometheus reads; 401 without token or login, 403 for who may not see everything."""
    if not _shows_token(request):
        user = await request.auser()
        if not user.is_authenticated:
            refusal = HttpResponse("a bearer token or a login is needed\n", "text/plain", status=401)
            refusal["WWW-Authenticate"] = "Bearer"
            return refusal
        if not await sync_to_async(allowed)(user, "admin"):
            return HttpResponse("administrators only\n", "text/plain", status=403)
    engine, rows = await sync_to_async(_rows)()
    measured = await _measure(client_of(engine.alias), rows) if engine.connected else []
    text = await sync_to_async(_render)(measured)
    return HttpResponse(text, CONTENT_TYPE_LATEST)


def _shows_token(request: HttpRequest) -> bool:
    kind, _space, shown = request.headers.get("Authorization", "").partition(" ")
    token = settings.METRICS_TOKEN
    return bool(
        token and kind.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), token.encode())
    )


def _rows() -> tuple[Engine, list[Container]]:
    running_ones = listed().filter(state="running").order_by("-created_at")[:CONTAINERS_MAX]
    return current_engine(), list(running_ones)


async def _measure(client: EngineClient, rows: list[Container]) -> Measured:
    """The statistics of each; one that cannot be measured in time is left out."""
    found = await samples(client, [row.container_id for row in rows], TIMEOUT_S)
    told = [
        ([row.name, row.container_id[:SHORT_ID_CHARS], row.image], found[row.container_id])
        for row in rows
        if row.container_id in found
    ]
    return sorted(told, key=lambda one: one[0])


def _render(measured: Measured) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(namespace="webdock_web", registry=registry)
    registry.register(_Snapshot(measured))
    return generate_latest(registry)


class _Snapshot:
    """What there is to tell, once."""

    def __init__(self, measured: Measured) -> None:
        self.measured = measured

    def collect(self) -> Iterator[Metric]:
        yield _gauge("webdock_info", "This web process.", [([__version__], 1)], ["version"])
        engines = list(Engine.objects.all())
        yield _gauge(
            "webdock_engine_connected",
            "Whether the engine answers.",
            [([engine.alias, engine.version], int(engine.connected)) for engine in engines],
            ["engine", "version"],
        )
        by_state = counts()
        yield _gauge(
            "webdock_containers",
            "Containers by state.",
            [([state], by_state[state]) for state in Container.State.values],
            ["state"],
        )
        images = Image.objects.filter(removed_at=None).aggregate(number=Count("pk"), size=Sum("size_bytes"))
        yield _gauge("webdock_images", "Images.", [([], images["number"])])
        yield _gauge("webdock_images_bytes", "Sum of the images' sizes.", [([], images["size"] or 0)])
        yield _gauge("webdock_networks", "Networks.", [([], sum(one.network_count for one in engines))])
        yield _gauge("webdock_volumes", "Volumes.", [([], sum(one.volume_count for one in engines))])
        open_ones = TerminalSession.objects.filter(ended_at=None).count()
        yield _gauge("webdock_terminals", "Open terminals.", [([], open_ones)])
        if engine_is_here():
            yield from self._host()
        for name, text, family, value in PER_CONTAINER:
            metric = family(f"webdock_container_{name}", text, labels=CONTAINER)
            for labels, sample in self.measured:
                metric.add_metric(labels, value(sample))
            yield metric

    def _host(self) -> Iterator[Metric]:
        now = host.latest()
        yield _gauge("webdock_host_cpu_ratio", "Busy share.", [([], now["cpu_percent"] / 100)])
        for part in ("memory", "disk"):
            values = [([word], now[f"{part}_{word}"]) for word in ("used", "total")]
            yield _gauge(f"webdock_host_{part}_bytes", f"The host's {part}.", values, ["kind"])


def _gauge(
    name: str, text: str, values: Iterable[tuple[Labels, float]], labels: Sequence[str] = ()
) -> Metric:
    metric = GaugeMetricFamily(name, text, labels=labels)
    for these, value in values:
        metric.add_metric(these, value)
    return metric
