"""Process entry of the engine: configuration, lock, rooms, sockets, and the way out.

Owns the order of start and stop. Containers are none of its business: they keep running when it ends.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime import generation
from runtime.api import logs
from runtime.api.errors import EngineError, Unavailable
from runtime.config import ConfigError, EngineConfig, load_config

log = logging.getLogger("webdock.engine")

OPEN_FILES = 1 << 20  # sockets, logs and conmon pipes of many containers


def main(argv: Sequence[str] | None = None) -> int:
    """Run the engine until SIGTERM or SIGINT; returns the exit code."""
    options = _parse(argv)
    environ = dict(os.environ)
    try:
        level = options.log_level or logs.level_of(environ)
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logs.formatter_of(environ))
    except ValueError as error:
        print(f"webdock engine: {error}", file=sys.stderr)
        return 1
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for name in ("home", "run", "runtime"):
        value = getattr(options, name)
        if value:
            environ[f"WEBDOCK_{name.upper()}"] = value
    try:
        config = load_config(environ, Path(options.config) if options.config else None)
        if options.check_config:
            print(f"read; the engine is {config.instance}, its runtime {config.runtime}")
            return 0
        locks = [_lock(config.home, 0o700), _lock(config.run, 0o755)]
        generation.bring_forward(config.home)  # before any room reads, and with nobody else there
    except (ConfigError, EngineError, OSError) as error:
        print(f"webdock engine: {error}", file=sys.stderr)
        return 1
    _raise_limits()
    try:
        asyncio.run(_serve(config))
    except EngineError as error:
        print(f"webdock engine: {error}", file=sys.stderr)
        return 1
    except Exception:
        log.exception("the engine %s failed", config.instance)
        return 1
    finally:
        for lock in locks:
            os.close(lock)
    return 0


async def _serve(config: EngineConfig) -> None:
    from runtime.engine import Engine
    from runtime.server.app import ApiServer

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    engine = Engine(config)
    server = ApiServer(engine)
    try:
        await engine.start()
        await server.start()
        gc.collect()
        gc.freeze()  # what start-up made stays; later collections need not look at it
        log.info("%s listens on %s and %s", config.instance, config.engine_socket, config.web_socket)
        _tell_supervisor("READY=1")
        await stop.wait()
        _tell_supervisor("STOPPING=1")
    finally:
        await server.close()
        await engine.close()


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="webdock engine", description="Run the container engine.")
    parser.add_argument("--home", help="state, WEBDOCK_HOME (default /var/lib/webdock)")
    parser.add_argument("--run", help="sockets, WEBDOCK_RUN (default /run/webdock)")
    parser.add_argument("--config", help="engine.toml, WEBDOCK_CONFIG (default /etc/webdock/engine.toml)")
    parser.add_argument("--runtime", help="OCI runtime, WEBDOCK_RUNTIME (default crun)")
    parser.add_argument("--log-level", choices=logs.LEVELS, help="WEBDOCK_LOG_LEVEL (default info)")
    parser.add_argument("--check-config", action="store_true", help="read the configuration, and no more")
    return parser.parse_args(argv)


def _lock(directory: Path, mode: int) -> int:
    """Claim a directory for this process until it ends; makes it when it is missing.

    Raises: Unavailable when another engine has it.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=mode)
    if os.geteuid() == 0 and mode == 0o700:
        os.chmod(directory, mode)
    lock = os.open(directory / "engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode("ascii", "replace").strip()
        os.close(lock)
        raise Unavailable(f"another engine (process {holder or 'unknown'}) works in {directory}") from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def _raise_limits() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _tell_supervisor(state: str) -> None:
    """Tell systemd, when it started us (sd_notify)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        try:
            notify.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError as error:
            log.warning("the supervisor cannot be told %s: %s", state, error)


if __name__ == "__main__":
    sys.exit(main())
