"""Websockets of the machine and of what happens on it."""

from __future__ import annotations

import asyncio

from django.urls import path

from webdock.engines.consumers import SocketConsumer
from webdock.engines.host import Sample, engine_is_here, host
from webdock.engines.selftest import SelftestConsumer
from webdock.engines.timeline import TimelineConsumer


class HostConsumer(SocketConsumer):
    """/ws/host/: the last hour of the machine once, then each new sample."""

    right = "view"

    async def run(self) -> None:
        if not engine_is_here():
            await self.send_json({"type": "host", "samples": []})
            return
        news: asyncio.Queue[Sample] = asyncio.Queue(maxsize=10)

        def note(sample: Sample) -> None:
            if not news.full():  # a browser that does not listen misses samples, nothing else
                news.put_nowait(sample)

        stop = host.watch(note)
        try:
            await self.send_json({"type": "host", "samples": list(host.samples)})
            while True:
                await self.send_json({"type": "sample", **(await news.get())})
        finally:
            stop()


websocket_urlpatterns = [
    path("ws/host/", HostConsumer.as_asgi()),
    path("ws/selftest/", SelftestConsumer.as_asgi()),
    path("ws/events/", TimelineConsumer.as_asgi()),
]
