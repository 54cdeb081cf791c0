from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runtime.api.errors import Internal, NotFound
from runtime.images.progress import Progress, bar, drawing, human_size, status, streamed


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (48770, "48.77kB"),
        (3408729, "3.409MB"),
        (10**9, "1GB"),
        (5 * 10**15, "5PB"),
    ],
)
def test_human_size_is_dockers(count: int, text: str) -> None:
    assert human_size(count) == text


def test_drawing_is_dockers() -> None:
    assert drawing(0, 100) == "[>" + " " * 50 + "]       0B/100B"
    assert drawing(50, 100) == "[" + "=" * 25 + ">" + " " * 25 + "]      50B/100B"
    assert drawing(100, 100) == "[" + "=" * 50 + ">]     100B/100B"
    assert drawing(200, 100) == "200B"


async def collect(progress: Progress) -> list[dict[str, Any]]:
    return [message async for message in progress.messages()]


async def test_a_slow_reader_sees_the_newest_step_and_every_change() -> None:
    progress = Progress()
    progress.put(status("Pulling fs layer", "a"))
    for step in range(100):
        progress.put(bar("Downloading", "a", step, 100))
        progress.put(bar("Downloading", "b", step, 100))
    progress.put(status("Download complete", "a"))
    progress.end()
    told = await collect(progress)
    assert [(message["status"], message["id"]) for message in told] == [
        ("Pulling fs layer", "a"),
        ("Downloading", "b"),
        ("Download complete", "a"),
    ]
    assert told[1]["progressDetail"]["current"] == 99


async def test_a_failure_before_the_first_message_is_raised_and_later_told() -> None:
    async def fail(progress: Progress, first: bool) -> None:
        if first:
            progress.put(status("begun"))
        raise NotFound("no such thing")

    progress = Progress()
    with pytest.raises(NotFound):
        _ = [message async for message in streamed(progress, fail(progress, False))]
    progress = Progress()
    told = [message async for message in streamed(progress, fail(progress, True))]
    assert told == [
        {"status": "begun"},
        {"errorDetail": {"message": "no such thing"}, "error": "no such thing"},
    ]


async def test_a_failure_in_a_group_is_told_like_any_other() -> None:
    async def fail() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(raising(Internal("disk")))

    with pytest.raises(Internal, match="disk"):
        _ = [message async for message in streamed(Progress(), fail())]


async def raising(error: Exception) -> None:
    raise error


async def test_a_mistake_of_ours_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        _ = [message async for message in streamed(Progress(), raising(ZeroDivisionError()))]


async def test_closing_the_stream_cancels_the_work_and_waits_for_its_end() -> None:
    progress = Progress()
    ended = False

    async def work() -> None:
        nonlocal ended
        progress.put(status("begun"))
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            ended = True

    stream = streamed(progress, work())
    assert (await anext(stream))["status"] == "begun"
    await stream.aclose()  # type: ignore[attr-defined]
    assert ended
