"""The directories of an instance, with the owners and modes on which the wall between places rests."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from runtime.api.instances import ADMIN_GROUP
from webdock.cli.errors import Failure
from webdock.cli.instance import Instance


class DirectoryError(Failure):
    """A directory that cannot be made or handed over."""


def ensure_directories(instance: Instance) -> None:
    """Make home and run and put wrong owners and modes right; the users must be there already.

    Other users pass through home and run without seeing what is there: an instance's web side must learn
    nothing of another's. A web directory of another owner, as instances had that shared one user, and as a
    home has that came from elsewhere, is handed over with everything that was its owner's in it.

    Raises: DirectoryError.
    """
    user, admins = pwd.getpwnam(instance.web_user), grp.getgrnam(ADMIN_GROUP).gr_gid
    for path, mode, uid, gid in (
        (instance.home, 0o711, 0, 0),
        (instance.engine_home, 0o700, 0, 0),
        (instance.log_home, 0o750, 0, 0),
        (instance.web_home, 0o700, user.pw_uid, user.pw_gid),
        (instance.run, 0o711, 0, 0),
    ):
        try:
            path.mkdir(parents=True, exist_ok=True)
            # Race: the web user owns web/ and may put a link there, never in place of it: its parent is
            # root's.
            put_right(path, mode, uid, gid, os.O_DIRECTORY)
        except OSError as error:
            raise DirectoryError(f"the directory {path} cannot be made: {error.strerror}") from error
    for path, mode, gid, flags in (
        (instance.app_home, 0o750, user.pw_gid, os.O_DIRECTORY),
        (instance.home_lock, 0o640, admins, 0),
        (instance.run_lock, 0o640, admins, 0),
    ):
        try:
            put_right(path, mode, 0, gid, flags)
        except FileNotFoundError:
            continue  # no copy was installed; nobody holds the home


def put_right(path: Path, mode: int, uid: int, gid: int, flags: int) -> None:
    """Give one file or directory owner and mode, and hand over what lies in a directory of another owner."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | flags)
    try:
        before = os.fstat(fd).st_uid
        if uid and before not in (0, uid):
            hand_over(fd, before, uid, gid)
        os.fchown(fd, uid, gid)  # the last, so that a hand-over that was interrupted is done again
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def hand_over(top: int, before: int, uid: int, gid: int) -> None:
    """Give files and directories below an open directory to a user when they belong to the one before.

    Race: the one before may still change names here. So each is opened without following a link and looked
    at through its descriptor, and what belongs to anybody else, or has a second name that may lie anywhere,
    keeps its owner. Links themselves keep theirs: whoever owns the directory may remove them.
    """
    for name in os.listdir(top):
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=top)
        except OSError:
            continue  # a link, a socket, or gone meanwhile
        try:
            found = os.fstat(fd)
            if found.st_uid != before:
                continue
            if stat.S_ISDIR(found.st_mode):
                hand_over(fd, before, uid, gid)
                os.fchown(fd, uid, gid)
            elif stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                os.fchown(fd, uid, gid)
        finally:
            os.close(fd)
