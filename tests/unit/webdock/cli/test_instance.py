"""Addresses, and what follows from home, run and listen."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from runtime.config import instance_names
from webdock.cli import instance
from webdock.cli.instance import Instance, ListenError


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("[::1]:80", ("::1", 80)),
        (":8000", ("0.0.0.0", 8000)),
        ("9000", ("127.0.0.1", 9000)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_addresses_are_split(text: str, parsed: tuple[str, int]) -> None:
    assert instance.parse_listen(text) == parsed


@pytest.mark.parametrize("text", ["", "x", "host:", "host:0", "host:65536", "::1:80", "host:http", "-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ListenError):
        instance.parse_listen(text)


def test_flags_win_over_variables_and_variables_over_defaults() -> None:
    options = argparse.Namespace(home="/h", run=None, listen=None, config=None)
    made = instance.from_options(options, {"WEBDOCK_HOME": "/other", "WEBDOCK_RUN": "/r"})
    assert (made.home, made.run, made.listen) == (Path("/h"), Path("/r"), "127.0.0.1:8000")


def test_each_home_has_a_web_user_named_as_the_engine_names_the_instance() -> None:
    def user(home: str) -> str:
        return Instance(Path(home), Path("/r"), "127.0.0.1:8000", None).web_user

    assert user("/var/lib/webdock") == "webdock"
    assert user("/srv/a") != user("/srv/b")
    assert user("/srv/a") == instance_names(Path("/srv/a/engine"))[0]
    assert len(user("/srv/" + "a" * 200)) <= 32, "useradd takes no more"


def test_urls_are_such_that_a_browser_reaches_them() -> None:
    def at(listen: str) -> Instance:
        return Instance(Path("/h"), Path("/r"), listen, Path("/c"))

    assert at("127.0.0.1:8000").url == "http://127.0.0.1:8000"
    assert at("[::1]:8000").url == "http://[::1]:8000"
    assert at(":8000").local_url == "http://127.0.0.1:8000"
    assert "0.0.0.0" not in at(":8000").url


def test_children_get_the_instances_variables() -> None:
    environ = Instance(Path("/h"), Path("/r"), "1.2.3.4:5", Path("/c")).environ(
        {"PATH": "/bin", "WEBDOCK_HOME": "/x"}
    )
    assert environ == {
        "PATH": "/bin",
        "WEBDOCK_HOME": "/h",
        "WEBDOCK_RUN": "/r",
        "WEBDOCK_LISTEN": "1.2.3.4:5",
        "WEBDOCK_CONFIG": "/c",
    }


def test_the_default_configuration_is_not_named_since_it_need_not_exist() -> None:
    made = Instance(Path("/h"), Path("/r"), "1.2.3.4:5", None)
    assert "WEBDOCK_CONFIG" not in made.environ({"WEBDOCK_CONFIG": "/c"})
