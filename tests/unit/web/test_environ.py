"""WEBDOCK_* variables, parsed."""

from __future__ import annotations

from pathlib import Path

import pytest

from webdock.environ import (
    BadVariable,
    flag,
    hours_each,
    own_hosts,
    public_url,
    secret_key,
    split_listen,
    words,
)
from webdock.web import endpoint


def test_flags_are_yes_or_no_and_nothing_else() -> None:
    assert flag({"A": "Yes"}, "A")
    assert not flag({"A": "0"}, "A")
    assert flag({}, "A", True)
    with pytest.raises(BadVariable, match="A='maybe'"):
        flag({"A": "maybe"}, "A")


def test_words_drop_what_is_empty() -> None:
    assert words({"A": " a, ,b ,"}, "A") == ["a", "b"]
    assert words({}, "A") == []


def test_public_url_gives_origin_host_and_sub_path() -> None:
    url = public_url({"WEBDOCK_PUBLIC_URL": "https://dock.example.org:8443/tools/dock/"})
    assert url is not None
    assert (url.origin, url.host, url.path, url.secure) == (
        "https://dock.example.org:8443",
        "dock.example.org",
        "/tools/dock",
        True,
    )
    assert public_url({}) is None


@pytest.mark.parametrize(
    "text", ["dock.example.org", "ftp://x", "https://", "https://x/?a=b", "https://x/#y"]
)
def test_public_url_refuses_what_is_none(text: str) -> None:
    with pytest.raises(BadVariable, match="WEBDOCK_PUBLIC_URL"):
        public_url({"WEBDOCK_PUBLIC_URL": text})


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:8000", "127.0.0.1", 8000), ("[::1]:80", "::1", 80), (":9", "", 9)],
)
def test_listen_is_split(text: str, host: str, port: int) -> None:
    assert split_listen(text) == (host, port)


def test_hours_are_for_all_or_for_each() -> None:
    def read(text: str) -> dict[str, float]:
        return hours_each({"H": text}, "H", 12, ("viewer", "admin"))

    assert read("") == {"viewer": 12, "admin": 12}
    assert read(" 0.5 ") == {"viewer": 0.5, "admin": 0.5}
    assert read("6, admin = 48") == {"viewer": 6, "admin": 48}
    assert read("viewer=1") == {"viewer": 1, "admin": 12}
    wrong = "0 -1 x 1,2 viewer viewer= owner=1 =3 admin=1,admin=2 inf nan 9999"
    for text in wrong.split():
        with pytest.raises(BadVariable, match="expected hours"):
            read(text)


@pytest.mark.parametrize("text", ["127.0.0.1", "host:port", "x:70000", ""])
def test_listen_without_a_port_is_refused(text: str) -> None:
    with pytest.raises(BadVariable, match="WEBDOCK_LISTEN"):
        split_listen(text)


def test_own_hosts_are_loopback_and_what_is_listened_on() -> None:
    assert own_hosts("127.0.0.1:8000") == ["localhost", "127.0.0.1", "[::1]"]
    assert "192.0.2.1" in own_hosts("192.0.2.1:8000")
    assert "[2001:db8::1]" in own_hosts("[2001:db8::1]:8000")
    assert "*" not in own_hosts("0.0.0.0:8000")
    assert len(own_hosts("0.0.0.0:8000")) > 3


def test_endpoint_quotes_what_twisted_would_read() -> None:
    assert endpoint("127.0.0.1:8000") == "tcp:8000:interface=127.0.0.1"
    assert endpoint("[::1]:8000") == "tcp:8000:interface=\\:\\:1"
    assert endpoint("unix:/run/web:dock.sock") == "unix:/run/web\\:dock.sock:mode=660"


def test_secret_key_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    key = secret_key({}, tmp_path)
    assert len(key) >= 50
    assert secret_key({}, tmp_path) == key
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret_key"]


def test_secret_key_without_a_directory_lives_as_long_as_the_process(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    assert secret_key({}, missing) != secret_key({}, missing)
    assert not missing.exists()


def test_secret_key_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(FileNotFoundError):
        secret_key({"WEBDOCK_SECRET_KEY_FILE": str(path)}, tmp_path)
    path.write_text("from the vault\n")
    assert secret_key({"WEBDOCK_SECRET_KEY_FILE": str(path)}, tmp_path) == "from the vault"
