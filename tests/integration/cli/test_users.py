"""Users and directories of instances: made side by side, handed over from a user all shared, removed."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import leftovers
from webdock.cli.directories import ensure_directories
from webdock.cli.instance import Instance
from webdock.cli.users import as_web_user, ensure_users, remove_web_user

NOBODY = 65534


@pytest.fixture
def instances() -> Iterator[list[Instance]]:
    """Three that were never started; no user of them is left."""
    places = [leftovers.directory("webdock-users-", "/var/tmp") for _n in range(3)]
    made = [Instance(place / "home", place / "run", "127.0.0.1:1", None) for place in places]
    for instance in made:
        instance.home.mkdir()
    yield made
    for instance, place in zip(made, places, strict=True):
        remove_web_user(instance)
        shutil.rmtree(place)


def known(instance: Instance) -> bool:
    try:
        pwd.getpwnam(instance.web_user)
        grp.getgrnam(instance.web_user)
    except KeyError:
        return False
    return True


def test_set_ups_at_once_give_each_instance_one_user_of_its_own(instances: list[Instance]) -> None:
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(ensure_users, [*instances, *instances]))
    users = [pwd.getpwnam(instance.web_user) for instance in instances]
    assert len({user.pw_uid for user in users}) == len({user.pw_gid for user in users}) == len(instances)
    assert all(user.pw_shell.endswith(("nologin", "false")) for user in users)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(remove_web_user, instances))
    assert not any(map(known, instances))


def test_a_removed_user_takes_its_processes_along(instances: list[Instance]) -> None:
    one = instances[0]
    ensure_users(one)
    stray = subprocess.Popen(as_web_user(one.web_user, ["sleep", "1000"]), start_new_session=True)
    try:
        remove_web_user(one)
        assert stray.wait(timeout=20) != 0
        assert not known(one)
    finally:
        stray.kill()
        stray.wait(timeout=20)


def test_a_home_of_another_user_is_handed_over_and_nothing_of_others_with_it(
    instances: list[Instance],
) -> None:
    one = instances[0]
    ensure_users(one)
    ensure_directories(one)
    theirs, elsewhere = one.home / "root-file", one.home / "other-instances-database"
    for path in (theirs, elsewhere):
        path.write_text("x")
    os.chown(elsewhere, NOBODY, NOBODY)
    deep = one.web_home / "recordings" / "one"
    deep.mkdir(parents=True)
    (deep / "cast").write_text("x")
    (one.web_home / "link").symlink_to(theirs)
    os.link(theirs, one.web_home / "hard")
    os.mkfifo(one.web_home / "pipe")
    for path in (one.web_home, deep.parent, deep, deep / "cast", one.web_home / "pipe"):
        os.chown(path, NOBODY, NOBODY)
    os.link(elsewhere, deep / "stolen")
    one.home_lock.write_text("{}")

    ensure_directories(one)
    uid = pwd.getpwnam(one.web_user).pw_uid
    assert {path.stat().st_uid for path in (one.web_home, deep.parent, deep, deep / "cast")} == {uid}
    assert (theirs.stat().st_uid, elsewhere.stat().st_uid) == (0, NOBODY)
    assert [path.stat().st_mode & 0o777 for path in (one.home, one.run, one.home_lock)] == [
        0o711,
        0o711,
        0o640,
    ]
