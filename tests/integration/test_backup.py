"""A backup of a running installation, restored into an empty home: accounts and volumes' files are there."""

from __future__ import annotations

import http.cookiejar
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from tests.integration.installation import Installation

ATTRIBUTES = "stat -c '%u:%g:%a' /data/file; cat /data/file; readlink /data/link"


def test_a_backup_restored_into_an_empty_home(installed: Installation, tmp_path: Path) -> None:
    archive = tmp_path / "all.tar.gz"
    fill = "echo kept > /data/file; chown 7:8 /data/file; chmod 640 /data/file; ln -s file /data/link"
    mount = ("-v", "kept-volume:/data", "webdock/busybox", "sh", "-c")
    installed.webdock("run", "--rm", *mount, fill)
    before = installed.webdock("run", "--rm", *mount, ATTRIBUTES).stdout
    installed.webdock("user", "add", "kept", "--role", "operator", input="correct horse battery\n")
    try:
        installed.webdock("backup", str(archive))
        assert archive.stat().st_mode & 0o777 == 0o600
        refused = installed.webdock("restore", str(archive), check=False)
        assert refused.returncode == 1
        assert "webdock down" in refused.stderr
    finally:
        installed.webdock("user", "disable", "kept", check=False)
        installed.webdock("volume", "rm", "kept-volume", check=False)

    other = Installation("restored")
    try:
        other.webdock("restore", str(archive))
        other.up()
        assert other.webdock("run", "--rm", *mount, ATTRIBUTES).stdout == before
        assert "kept" in before
        assert "kept" in other.webdock("user", "list").stdout
        assert logs_in(other, "kept", "correct horse battery")
        assert not logs_in(other, "kept", "correct horse batterz")
        other.down()
        again = other.webdock("restore", str(archive), check=False)
        assert "not empty" in again.stderr
    finally:
        other.purge()


def logs_in(installation: Installation, name: str, password: str) -> bool:
    """Whether the pages take this password, asked as a browser asks."""
    jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    browser = urllib.request.build_opener(jar)
    page = browser.open(f"{installation.url}/login/").read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert token
    form = {"csrfmiddlewaretoken": token[1], "username": name, "password": password}
    try:
        with browser.open(f"{installation.url}/login/", urllib.parse.urlencode(form).encode()) as answer:
            return "/login/" not in answer.url
    except urllib.error.HTTPError as refused:
        if refused.code != 400:
            raise
        return False


def test_what_is_no_backup_is_refused_and_the_home_stays_empty(tmp_path: Path) -> None:
    idle = Installation("nobackup")
    try:
        wrong = tmp_path / "wrong.tar"
        shutil.make_archive(str(tmp_path / "wrong"), "tar", os.path.dirname(__file__), "__init__.py")
        for path, words in ((wrong, "not an archive"), (tmp_path / "none", "no file")):
            done = idle.webdock("restore", str(path), check=False)
            assert done.returncode == 1
            assert words in done.stderr
        assert not list((idle.home / "engine").iterdir())
        assert not list((idle.home / "web").iterdir())
    finally:
        idle.purge()
