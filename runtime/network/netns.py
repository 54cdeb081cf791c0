"""Network namespaces: made ready in advance, pinned as files, entered for a moment.

† One of the modules that touch the kernel's network. A namespace lives as long as its file in
``<run>/netns`` is a mount, whether a process is in it or not. Entering one concerns the calling thread only,
so all of this runs in the two network threads of ``bridge.py`` and never in the event loop's.

Spec: network_namespaces(7), setns(2), unshare(2), ioctl_ns(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import select
import socket
import subprocess
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from runtime.network.links import set_up
from runtime.network.netlink import NetlinkSocket
from runtime.network.nft import NftSocket

CHILD_TIMEOUT_S = 20  # nsenter and unshare take 3 ms; a machine that swaps may need longer
DNS_BACKLOG = 64  # connections waiting for the resolver
LOOPBACK_INDEX = 1  # the kernel gives it to the first interface of every namespace

CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_SHARED = 0x1000, 0x4000, 1 << 20
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _mount(source: str, target: Path, flags: int) -> None:
    _check(_libc.mount(source.encode(), bytes(target), None, flags, None), f"mount {target}")


def _enter(namespace: int) -> None:
    _check(_libc.setns(namespace, CLONE_NEWNET), "setns")


def _is_mount(path: Path) -> bool:
    """Whether something is mounted there, even from the same file system, which `os.path.ismount` misses."""
    wanted = os.path.realpath(path)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            place = line.split(" ", 5)[4]
            if "\\" in place:
                place = place.encode("utf-8", "surrogateescape").decode("unicode_escape")
            if place == wanted:
                return True
    return False


@dataclass(frozen=True, slots=True)
class Namespace:
    """A pinned namespace, with a route netlink socket inside it when it comes from the pool."""

    path: Path
    owner: Path | None  # user namespace it belongs to; None: the host's
    netlink: NetlinkSocket


class Namespaces:
    """The pinned namespaces of one instance and the few kept ready.

    ``fill`` runs in one thread, ``take`` in another; each hands over whole entries.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        self.directory = directory
        self._keep = keep
        self._ready: dict[Path | None, deque[Namespace]] = {}
        self._coming: Counter[Path | None] = Counter()
        self._host = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._device = os.fstat(self._host).st_dev

    def prepare(self) -> None:
        """Make the directory a shared mount of its own.

        Kernel: other mount namespaces copy every pin they can see; only in a shared mount does releasing
        it here release it there, too.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        if not _is_mount(self.directory):
            _mount(str(self.directory), self.directory, MS_BIND | MS_REC)
        _check(_libc.mount(b"", bytes(self.directory), None, MS_SHARED | MS_REC, None), "mount --make-shared")

    def close(self) -> None:
        """Release the namespaces nobody took; those in use stay."""
        for entries in self._ready.values():
            while entries:
                entry = entries.popleft()
                entry.netlink.close()
                self.release(entry.path)
        self._ready.clear()
        if self._host >= 0:
            os.close(self._host)
            self._host = -1

    def purge(self) -> None:
        """Release everything and the directory's own mount."""
        for path in self.pins():
            self.release(path)
        while _is_mount(self.directory):
            _check(_libc.umount2(bytes(self.directory), MNT_DETACH), f"umount {self.directory}")
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    def pins(self) -> list[Path]:
        """Every file in the directory, namespace or left behind."""
        try:
            return sorted(self.directory.iterdir())
        except FileNotFoundError:
            return []

    def pinned(self, path: Path) -> bool:
        """Whether that file still holds a namespace (after a reboot it is an empty file)."""
        try:
            return os.stat(path).st_dev == self._device
        except OSError:
            return False

    def release(self, path: Path) -> None:
        """Let go of a namespace; it ends with the last process in it. Nothing happens when it is gone."""
        while self.pinned(path):
            _check(_libc.umount2(bytes(path), MNT_DETACH), f"umount {path}")
        path.unlink(missing_ok=True)

    def claim(self, owner: Path | None) -> int:
        """How many calls of ``fill`` are missing to the number kept ready; they are to follow."""
        missing = max(0, self._keep - len(self._ready.get(owner, ())) - self._coming[owner])
        self._coming[owner] += missing
        return missing

    def fill(self, owner: Path | None) -> None:
        """Make one more ready."""
        try:
            self._ready.setdefault(owner, deque()).append(self.make(owner))
        finally:
            self._coming[owner] -= 1

    def take(self, owner: Path | None) -> Namespace:
        """A namespace with its loopback up: a ready one, or one made now."""
        entries = self._ready.get(owner)
        try:
            return entries.popleft() if entries else self.make(owner)
        except IndexError:  # Race: the other thread took the last one between look and grip
            return self.make(owner)

    def make(self, owner: Path | None) -> Namespace:
        path = self.directory / secrets.token_hex(8)
        path.touch(mode=0o600, exist_ok=False)
        try:
            if owner is None:
                self._unshare(path)
            else:
                self._unshare_inside(path, owner)
            with self.inside(path):
                # IPv6 is switched on per interface, when its network has it.
                if _HAS_IPV6:
                    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
                inner = NetlinkSocket()
            try:
                inner.send(set_up(LOOPBACK_INDEX))
            except BaseException:
                inner.close()
                raise
        except BaseException:
            self.release(path)
            raise
        return Namespace(path, owner, inner)

    def _unshare(self, path: Path) -> None:
        _check(_libc.unshare(CLONE_NEWNET), "unshare")
        try:
            _mount("/proc/thread-self/ns/net", path, MS_BIND)
        finally:
            _enter(self._host)

    def _unshare_inside(self, path: Path, owner: Path) -> None:
        """Make one that belongs to a user namespace.

        Kernel: only a process of a single thread may change its user namespace, hence a child; `cat`
        answers a line once it is where it should be, and stays until the namespace is pinned.
        """
        child = subprocess.Popen(
            ["nsenter", f"--user={owner}", "unshare", "--net", "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            assert child.stderr is not None
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(b"\n")
                child.stdin.flush()
            readable, _, _ = select.select([child.stdout], [], [], CHILD_TIMEOUT_S)
            if not readable or child.stdout.read(1) != b"\n":
                child.kill()
                words = child.stderr.read().decode(errors="replace").strip()
                raise OSError(f"no network namespace inside {owner}: {words or 'no answer'}")
            _mount(f"/proc/{child.pid}/ns/net", path, MS_BIND)
        finally:
            try:
                child.communicate(timeout=CHILD_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.communicate()

    def netlink(self, path: Path) -> NetlinkSocket:
        """A route netlink socket in that namespace. Raises: OSError."""
        with self.inside(path):
            return NetlinkSocket()

    def open_dns(
        self, namespace: Path, address: IPv4Address, *, replace: bool = False
    ) -> tuple[socket.socket, socket.socket]:
        """Two sockets for the resolver inside, and the rule that leads port 53 to them."""
        with self.inside(namespace):
            udp = socket.socket(
                socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
            tcp = socket.socket(
                socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
            try:
                udp.bind((str(address), 0))
                tcp.bind((str(address), 0))
                tcp.listen(DNS_BACKLOG)
                with contextlib.closing(NftSocket()) as nft:
                    nft.redirect_dns(address, udp.getsockname()[1], tcp.getsockname()[1], replace=replace)
            except BaseException:
                udp.close()
                tcp.close()
                raise
        return udp, tcp

    @contextlib.contextmanager
    def inside(self, path: Path) -> Iterator[None]:
        """Run the block with this thread in that namespace; sockets made there stay there."""
        namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(namespace)
            try:
                yield
            finally:
                _enter(self._host)
        finally:
            os.close(namespace)


_HAS_IPV6 = os.path.exists("/proc/sys/net/ipv6")
