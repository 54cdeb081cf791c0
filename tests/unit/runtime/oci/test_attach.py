"""The attach stream over a socket pair: packets, order, flow control, ends."""

# ruff: noqa: PT012 - filling a socket takes a loop
from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.errors import Conflict, Unavailable
from runtime.oci.attach import READ_BYTES, WRITE_BYTES, ConmonStream, connect
from runtime.oci.pace import FLOOD_BYTES, SHARE_S, Pace

Pair = tuple[ConmonStream, socket.socket]


@pytest.fixture
async def make_pair() -> AsyncIterator[Callable[..., Pair]]:
    made: list[Pair] = []

    def make(park: Callable[[socket.socket], None] | None = None) -> Pair:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        theirs.setblocking(False)
        made.append((ConmonStream(ours, tty=False, park=park), theirs))
        return made[-1]

    yield make
    for stream, theirs in made:
        stream.close()
        theirs.close()


async def test_a_terminals_flood_gathers_until_somebody_types(make_pair: Callable[..., Pair]) -> None:
    stream, theirs = make_pair()
    stream.tty = True
    others = [
        Pace() for _ in range(1_000_000 // round(SHARE_S * 1000))
    ]  # together a pause of a thousand seconds
    try:
        for pace in others:
            pace.took(FLOOD_BYTES)
        theirs.send(b"\x02" + b"x" * (FLOOD_BYTES - 1))
        theirs.send(b"\x02x")
        assert await stream.read() == (1, b"x" * FLOOD_BYTES)
        theirs.send(b"\x02more")
        reading = asyncio.ensure_future(stream.read())
        await asyncio.sleep(0)
        await stream.write(b"key")
        async with asyncio.timeout(20):
            assert await reading == (1, b"more")
    finally:
        for pace in others:
            pace.rest()


async def test_a_terminals_output_is_given_at_once_while_a_read_waits(make_pair: Callable[..., Pair]) -> None:
    stream, theirs = make_pair()
    stream.tty = True
    given, room = list[bytes](), [True, True, False, True]

    def take(data: bytes) -> bool:
        if room[0]:
            given.append(data)
        return room.pop(0)

    stream.at_once = take
    reading = asyncio.ensure_future(stream.read())
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        for number, word in enumerate((b"one", b"two")):
            theirs.send(b"\x02" + word)
            while len(given) <= number:  # noqa: ASYNC110 - the loop has to turn
                await asyncio.sleep(0)
        theirs.send(b"\x02refused")
        assert await reading == (1, b"refused")
        assert stream.write_now(b"key")
        assert theirs.recv(100) == b"key"
        reading = asyncio.ensure_future(stream.read())
        await asyncio.sleep(0)
        theirs.send(b"\x02last")
        theirs.close()
        assert await reading is None
    assert given == [b"one", b"two", b"last"]
    assert not stream.write_now(b"key")
    with pytest.raises(Conflict):
        await stream.write(b"key")


async def test_unknown_and_empty_packets_are_nothing(make_pair: Callable[..., Pair]) -> None:
    stream, theirs = make_pair()
    for packet in (b"\x00x", b"\x01x", b"\x04x", b"\xff", b"\x02", b"\x03", b"\x02first", b"\x09?", b"\x02"):
        theirs.send(packet)
    theirs.send(b"\x02, second")
    assert await stream.read() == (1, b"first, second")


@given(st.lists(st.tuples(st.sampled_from([2, 3]), st.binary(min_size=1, max_size=300)), max_size=20))
def test_any_packets_are_their_streams_and_their_bytes(packets: list[tuple[int, bytes]]) -> None:
    async def read_all() -> list[tuple[int, bytes]]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            for kind, data in packets:
                theirs.send(bytes([kind]) + data)
        stream = ConmonStream(ours, tty=False, park=None)
        found: list[tuple[int, bytes]] = []
        while (item := await stream.read()) is not None:
            found.append(item)
        stream.close()
        return found

    found = asyncio.run(read_all())
    flat = [(stream, byte) for stream, data in found for byte in data]
    assert flat == [(mark - 1, byte) for mark, data in packets for byte in data]


async def test_packets_of_one_stream_are_joined_and_order_is_kept(make_pair: Callable[..., Pair]) -> None:
    stream, theirs = make_pair()
    for packet in (b"\x02a", b"\x02b", b"\x09?", b"\x03c", b"\x02d"):
        theirs.send(packet)
    assert [await stream.read() for _ in range(3)] == [(1, b"ab"), (2, b"c"), (1, b"d")]
    theirs.close()
    assert await stream.read() is None
    assert await stream.read() is None


async def test_text_cut_at_every_byte_arrives_whole(make_pair: Callable[..., Pair]) -> None:
    text = "héé€😀\r\n".encode()
    for cut in range(len(text) + 1):
        stream, theirs = make_pair()
        for part in (text[:cut], text[cut:]):
            if part:
                theirs.send(b"\x02" + part)
        theirs.close()
        seen = b""
        while (chunk := await stream.read()) is not None:
            seen += chunk[1]
        assert seen == text


async def test_one_read_is_bounded(make_pair: Callable[..., Pair]) -> None:
    stream, theirs = make_pair()
    sent = 0
    with pytest.raises(BlockingIOError):
        while True:
            theirs.send(b"\x02" + bytes(8192))
            sent += 8192
    got = 0
    while got < sent:
        chunk = await stream.read()
        assert chunk is not None
        assert len(chunk[1]) < READ_BYTES + 8192
        got += len(chunk[1])


async def test_a_slow_reader_fills_the_socket_and_takes_nothing(make_pair: Callable[..., Pair]) -> None:
    _, theirs = make_pair()
    with pytest.raises(BlockingIOError):
        for _ in range(10_000):
            theirs.send(b"\x02" + bytes(8192))
            await asyncio.sleep(0)


async def test_a_write_waits_for_the_other_side_and_arrives_whole(make_pair: Callable[..., Pair]) -> None:
    stream, theirs = make_pair()
    data = bytes(range(256)) * 8192
    writing = asyncio.ensure_future(stream.write(data))
    await asyncio.sleep(0)
    assert not writing.done()
    seen = b""
    loop = asyncio.get_running_loop()
    while len(seen) < len(data):
        packet = await loop.sock_recv(theirs, 1 << 20)
        assert len(packet) <= WRITE_BYTES
        seen += packet
    await writing
    assert seen == data


async def test_half_close_keeps_the_output(make_pair: Callable[..., Pair]) -> None:
    stream, theirs = make_pair()
    await stream.write(b"x")
    await stream.close_stdin()
    await stream.close_stdin()
    assert (theirs.recv(10), theirs.recv(10)) == (b"x", b"")
    theirs.send(b"\x02still")
    assert await stream.read() == (1, b"still")
    with pytest.raises(Conflict):
        await stream.write(b"y")


async def test_writing_to_a_vanished_peer_is_a_conflict(make_pair: Callable[..., Pair]) -> None:
    stream, theirs = make_pair()
    theirs.close()
    with pytest.raises(Conflict):
        await stream.write(b"x")


async def test_the_last_output_survives_unread_input(make_pair: Callable[..., Pair]) -> None:
    stream, theirs = make_pair()
    await stream.write(b"never read")
    theirs.send(b"\x02last words")
    theirs.close()
    assert await stream.read() == (1, b"last words")
    assert await stream.read() is None


async def test_closing_wakes_a_waiting_read_and_write(make_pair: Callable[..., Pair]) -> None:
    stream, _ = make_pair()
    reading = asyncio.ensure_future(stream.read())
    writing = asyncio.ensure_future(stream.write(bytes(8 << 20)))
    await asyncio.sleep(0.01)
    stream.close()
    stream.close()
    assert await reading is None
    with pytest.raises(Conflict):
        await writing


async def test_a_cancelled_read_loses_nothing(make_pair: Callable[..., Pair]) -> None:
    stream, theirs = make_pair()
    reading = asyncio.ensure_future(stream.read())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    theirs.send(b"\x02later")
    assert await stream.read() == (1, b"later")


async def test_a_viewers_socket_is_parked_while_the_session_lives(make_pair: Callable[..., Pair]) -> None:
    parked: list[socket.socket] = []
    stream, _ = make_pair(parked.append)
    stream.close()
    assert len(parked) == 1
    parked[0].close()
    ended, theirs = make_pair(parked.append)
    theirs.close()
    assert await ended.read() is None
    ended.close()
    assert len(parked) == 1


def test_nobody_listening_is_a_conflict(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("session")
    with pytest.raises(Conflict):
        connect(directory)
    with pytest.raises(Conflict):
        connect(directory / "gone")


def test_a_deep_directory_can_be_connected_to(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("session") / ("d" * 200)
    directory.mkdir()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fd = os.open(directory, os.O_PATH)
    listener.bind(f"/proc/self/fd/{fd}/attach")
    os.close(fd)
    listener.listen(0)
    first = connect(directory)
    with pytest.raises(Unavailable):
        for _ in range(20):
            connect(directory).close()
    first.close()
    listener.close()
