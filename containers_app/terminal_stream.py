"""The engine's side of a session: starts its exec or takes it up again, says why it ended, and ends it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from containers_app.models import TerminalSession
from containers_app.terminal_hub import Hub, Outcome, hubs
from containers_app.terminal_peers import meet
from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, EngineError, EngineUnreachable, NotFound, NotSupported
from runtime.api.screens import Output
from runtime.api.streams import ClientStream, Place
from webdock.engines.clients import client as client_of
from webdock.engines.consumers import CLOSE_ENGINE, CLOSE_GONE, CLOSE_STATE, Closed
from webdock.engines.models import Engine
from webdock.engines.threads import carry_on, in_thread

EXIT_NOTED_S = 2.0  # how long after a stream's end its exit is waited for
LINGER_S = 60.0  # without a viewer its output is kept here so long: the engine has it as well …
FOREIGN_LINGER_S = 900.0  # … but other engines have not
FOREIGN_LINES = 5000  # of a main process's log
FOREIGN_LOG_S = 5.0
CTRL_C, CTRL_D, CTRL_U = b"\x03", b"\x04", b"\x15"


def hub_of(session: TerminalSession) -> Hub:
    """The hub of an open session; made when nobody has asked for it yet."""
    hub = hubs.get(session.pk)
    if hub is None:
        hub = hubs[session.pk] = Hub(session, client_of(session.engine.alias), _open, _settle, meet)
    hub.session = session
    if hub.size is None:
        hub.output.size = (session.rows, session.columns)
    return hub


async def _open(hub: Hub) -> ClientStream:
    """Start the exec, take it up again, or attach.

    Raises: Closed when the session is over; EngineError.
    """
    session, client = hub.session, hub.client
    if session.kind == TerminalSession.Kind.ATTACH:
        stream = await client.container_attach(session.container_id, tty=session.tty, history=True)
        with _closed_on_failure(stream):
            hub.input.resume(None)
            past = await _past_of_main_process(hub, stream)
            for sink in hub.sinks:
                sink.output(hub.output.rejoin(past) or b"")
            hub.output.replace(past)
            return stream
    if await _claim_start(session):
        size = (session.rows, session.columns)
        hub.input.resume(_counted(0) if session.engine.kind == Engine.Kind.NATIVE else None)
        return await client.exec_start(session.exec_id, tty=session.tty, console_size=size)
    try:
        stream = await client.exec_attach(session.exec_id, tty=session.tty, history=True)
    except (NotFound, NotSupported, Conflict):
        await note_end(session, None)
        hubs.pop(session.pk, None)
        raise Closed(CLOSE_GONE, _("This terminal has ended.")) from None
    with _closed_on_failure(stream):
        past = await stream.read_past()
        hub.input.resume(None if stream.place is None else _counted(stream.place.typed))
        if stream.place is not None:
            _catch_up(hub, past, stream.place)
        elif not past:
            hub.redraw()  # an engine that keeps nothing: what was written while nobody listened is not known
        elif (missed := hub.output.rejoin(past)) is not None:
            hub.output.append(missed)
        else:
            hub.output.replace(past)
        return stream


@contextmanager
def _closed_on_failure(stream: ClientStream) -> Iterator[None]:
    """Whoever opens a stream may leave, or the engine break off, before it is the hub's to close."""
    try:
        yield
    except BaseException:
        stream.close()
        raise


async def _past_of_main_process(hub: Hub, stream: ClientStream) -> bytes:
    """What it wrote before, as far as its screen and scrollback need it.

    Differs: other engines have only the log, in which the end may be what the stream gives once more.
    """
    if stream.past or hub.session.engine.kind == Engine.Kind.NATIVE:
        return await stream.read_past()
    output = Output()
    try:
        logs = hub.client.container_logs(hub.session.container_id, tail=FOREIGN_LINES, tty=hub.session.tty)
        async with logs, asyncio.timeout(FOREIGN_LOG_S):
            async for _stream, data in logs:
                output.append(data)
    except (EngineError, TimeoutError):
        pass  # no log is kept there, or it is long in coming
    return output.picture()


def _counted(typed: int) -> int | None:
    """The engine's count of what was typed; None when other web processes may have a part in it."""
    return None if settings.REDIS_URL else typed


def _catch_up(hub: Hub, past: bytes, place: Place) -> None:
    """Take what was written while this hub did not listen, and nothing twice."""
    missed = place.end - hub.at
    if 0 <= missed <= min(place.exact, len(past)) and hub.output.end:
        hub.take(past[len(past) - missed :])
    else:
        hub.output.replace(past)
        hub.at = place.end


async def _settle(hub: Hub) -> Outcome:
    """The stream is over: why, in the words of what is true now. Raises: EngineError."""
    session = hub.session
    code: int | None = None
    if session.kind == TerminalSession.Kind.SHELL:
        known, code = await _exec_code(hub.client, session.exec_id)
        if not known:
            return Outcome(CLOSE_ENGINE, _("The connection to the engine broke."), over=False)
    try:
        state = (await hub.client.container_inspect(session.container_id)).get("State") or {}
    except NotFound:
        await note_end(session, code)
        words = _("The container was removed.")
        return Outcome(CLOSE_GONE, words, ({"type": "error", "message": words},))
    if not state.get("Running"):
        await note_end(session, code)
        shown = state.get("ExitCode") if code is None else code
        return Outcome(CLOSE_STATE, _("The container stopped."), (_exit(shown),))
    if session.kind == TerminalSession.Kind.ATTACH:
        return Outcome(CLOSE_ENGINE, _("The engine let go of the terminal."), (_exit(None),), over=False)
    await note_end(session, code)
    return Outcome(1000, "", (_exit(code),))


def _exit(code: int | None) -> dict[str, Any]:
    return {"type": "exit", "code": code}


async def _exec_code(client: EngineClient, exec_id: str) -> tuple[bool, int | None]:
    """(whether it has ended, its exit code or None when that is forgotten)."""
    deadline = asyncio.get_running_loop().time() + EXIT_NOTED_S
    while True:
        try:
            answer = await client.exec_inspect(exec_id)
        except NotFound:
            return True, None
        if not answer.get("Running"):
            return True, answer.get("ExitCode")
        # Race: an engine may close the stream a moment before it notes the exit.
        if asyncio.get_running_loop().time() > deadline:
            return False, None
        await asyncio.sleep(0.05)


def linger(hub: Hub) -> None:
    """The last viewer has left: keep the hub for a while, then let go of it."""
    native = hub.session.engine.kind == Engine.Kind.NATIVE
    asyncio.get_running_loop().call_later(LINGER_S if native else FOREIGN_LINGER_S, _retire, hub)


def _retire(hub: Hub) -> None:
    if not hub.viewers and not hub.sinks and hubs.get(hub.session.pk) is hub:
        carry_on(_let_go(hub), name="terminal let go")


async def _let_go(hub: Hub) -> None:
    """Differs: other engines cannot take an exec up again, so its shell would live on with nobody to end it;
    there it is told to go."""
    session, stream = hub.session, hub.stream
    foreign = session.engine.kind != Engine.Kind.NATIVE
    if foreign and session.kind == TerminalSession.Kind.SHELL and stream is not None:
        await say_goodbye(stream)
        await note_end(session, None)
    await hub.close()
    if not hubs:
        gc.collect()  # tasks and viewers of many terminals go now, when nobody types, instead of at some time


async def end(hub: Hub | None, session: TerminalSession) -> None:
    """End a session: its processes get HUP, and KILL when they stay; a main process is only let go of.

    Raises: EngineError when the engine cannot do it.
    """
    client = client_of(session.engine.alias)
    if session.exec_id:
        try:
            await client.exec_end(session.exec_id)
        except NotSupported:
            if hub is None or hub.stream is None:
                raise
            await say_goodbye(hub.stream)
        except (NotFound, Conflict):
            if hub is not None and hub.stream is not None and session.engine.kind != Engine.Kind.NATIVE:
                await say_goodbye(hub.stream)  # an engine without the endpoint; or it has ended
    await note_end(session, None)
    if hub is not None:
        hub.finish(Outcome(1000))


async def say_goodbye(stream: ClientStream) -> None:
    """Ask a shell to go, for engines that cannot signal an exec: interrupt, end of input, ``exit``."""
    try:
        await stream.write(CTRL_C + CTRL_U + CTRL_D)
        await stream.write(b"exit\r")
        await stream.close_stdin()
    except EngineUnreachable:
        return  # it is gone already, which is what was wanted


@in_thread
def _claim_start(session: TerminalSession) -> bool:
    """True for the one hub that starts the exec."""
    return bool(TerminalSession.objects.filter(pk=session.pk, started=False).update(started=True))


@in_thread
def note_end(session: TerminalSession, code: int | None) -> None:
    """The session is over and cannot be taken up again."""
    TerminalSession.objects.filter(pk=session.pk, ended_at=None).update(
        ended_at=timezone.now(), exit_code=code
    )


@in_thread
def note_size(session: TerminalSession, size: tuple[int, int] | None) -> None:
    """How large the screen was: whoever takes the session up in another process draws it so."""
    if size is not None and size != (session.rows, session.columns):
        TerminalSession.objects.filter(pk=session.pk).update(rows=size[0], columns=size[1])
