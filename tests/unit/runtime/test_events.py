"""The event hub: order, replay, filters, followers that fall behind."""

from __future__ import annotations

import asyncio

import pytest

from runtime import events
from runtime.events import EventHub, Subscription, matches


class Clock:
    def __init__(self) -> None:
        self.ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hub(clock: Clock) -> EventHub:
    return EventHub(clock)


async def take(subscription: Subscription, count: int) -> list[str]:
    async with asyncio.timeout(60):
        return [(await anext(subscription))["Action"] for _ in range(count)]


async def test_events_come_in_order_to_everybody(hub: EventHub) -> None:
    first, second = hub.subscribe(), hub.subscribe()
    for action in ("create", "start", "die"):
        hub.publish("container", action, "id", {"image": "i"})
    assert await take(first, 3) == await take(second, 3) == ["create", "start", "die"]


async def test_an_event_has_dockers_form(hub: EventHub, clock: Clock) -> None:
    follower = hub.subscribe()
    clock.ns = 1_700_000_000_123_456_789
    hub.publish("container", "start", "abc", {"image": "busybox", "name": "x"})
    hub.publish("image", "tag", "sha256:1", {"name": "a:b"})
    hub.publish("network", "connect", "n", {"container": "abc"})
    assert await anext(follower) == {
        "status": "start",
        "id": "abc",
        "from": "busybox",
        "Type": "container",
        "Action": "start",
        "Actor": {"ID": "abc", "Attributes": {"image": "busybox", "name": "x"}},
        "scope": "local",
        "time": 1_700_000_000,
        "timeNano": 1_700_000_000_123_456_789,
    }
    assert "from" not in await anext(follower)
    assert "status" not in await anext(follower)


async def test_no_two_events_have_one_time(hub: EventHub, clock: Clock) -> None:
    follower = hub.subscribe()
    for _ in range(3):
        hub.publish("container", "start", "a", {})
        clock.ns -= 10
    times = [(await anext(follower))["timeNano"] for _ in range(3)]
    assert times == sorted(set(times))


async def test_the_past_is_replayed_from_since_on(hub: EventHub, clock: Clock) -> None:
    for second in range(5):
        clock.ns = (100 + second) * 1_000_000_000
        hub.publish("container", f"e{second}", "a", {})
    assert await take(hub.subscribe(since=102), 3) == ["e2", "e3", "e4"]


async def test_the_ring_is_bounded(hub: EventHub) -> None:
    for number in range(events.RING_EVENTS + 10):
        hub.publish("container", str(number), "a", {})
    assert await take(hub.subscribe(since=0), 1) == ["10"]


async def test_until_in_the_past_ends_after_the_replay(hub: EventHub, clock: Clock) -> None:
    hub.publish("container", "early", "a", {})
    clock.ns += 10_000_000_000
    hub.publish("container", "late", "a", {})
    until = clock.ns / 1e9 - 5
    assert [event["Action"] async for event in hub.subscribe(since=0, until=until)] == ["early"]
    assert hub.followers == 0


async def test_a_follower_that_falls_behind_is_ended(hub: EventHub) -> None:
    follower = hub.subscribe()
    for _ in range(events.QUEUE_EVENTS + 1):
        hub.publish("container", "x", "a", {})
    assert [event async for event in follower] == []
    assert follower.overrun
    assert hub.followers == 0


async def test_closing_wakes_a_waiting_follower(hub: EventHub) -> None:
    follower = hub.subscribe()
    waiting = asyncio.ensure_future(anext(follower, None))
    await asyncio.sleep(0)
    hub.close()
    assert await waiting is None


async def test_pending_gives_a_burst_at_once(hub: EventHub) -> None:
    follower = hub.subscribe()
    for number in range(3):
        hub.publish("container", str(number), "a", {})
    assert [event["Action"] for event in follower.pending()] == ["0", "1", "2"]


CONTAINER = {
    "Type": "container",
    "Action": "exec_start: sh -c true",
    "Actor": {"ID": "abcdef", "Attributes": {"name": "web_1", "image": "host:5000/a/b:1", "k": "v"}},
    "scope": "local",
}
IMAGE = {
    "Type": "image",
    "Action": "pull",
    "Actor": {"ID": "a/b:1", "Attributes": {"name": "a/b"}},
    "scope": "local",
}


@pytest.mark.parametrize(
    ("event", "filters", "shown"),
    [
        (CONTAINER, {}, True),
        (CONTAINER, {"type": ["container"]}, True),
        (CONTAINER, {"type": ["image", "network"]}, False),
        (CONTAINER, {"event": ["exec_start"]}, True),
        (CONTAINER, {"event": ["exec_start: sh -c true"]}, True),
        (CONTAINER, {"event": ["exec"]}, False),
        (CONTAINER, {"container": ["abc"]}, True),
        (CONTAINER, {"container": ["web"]}, True),
        (CONTAINER, {"container": ["x", "web_1"]}, True),
        (CONTAINER, {"container": ["x"]}, False),
        (CONTAINER, {"label": ["k"]}, True),
        (CONTAINER, {"label": ["k=v"]}, True),
        (CONTAINER, {"label": ["k=w"]}, False),
        (CONTAINER, {"label": ["k", "missing"]}, False),
        (CONTAINER, {"image": ["host:5000/a/b"]}, True),
        (CONTAINER, {"image": ["host:5000/a/b:1"]}, True),
        (CONTAINER, {"image": ["host:5000/a"]}, False),
        (CONTAINER, {"scope": ["swarm"]}, False),
        (CONTAINER, {"container": []}, True),
        (IMAGE, {"image": ["a/b"]}, True),
        (IMAGE, {"image": ["a/b:1"]}, True),
        (IMAGE, {"event": ["pull"], "type": ["image"]}, True),
        (IMAGE, {"event": ["pul"]}, False),
    ],
)
def test_filters(event: events.Event, filters: dict[str, list[str]], shown: bool) -> None:
    assert matches(event, filters) is shown
