from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.errors import InvalidArgument
from runtime.images.auth import Challenge, Credentials, credentials, may_receive, parse_challenges


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        (
            'Bearer realm="https://a/t",service="s, with comma",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    "bearer",
                    {"realm": "https://a/t", "service": "s, with comma", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        ("bearer realm=plain", [Challenge("bearer", {"realm": "plain"})]),
        (
            'Negotiate, Basic realm="y"',
            [Challenge("negotiate", {}), Challenge("basic", {"realm": "y"})],
        ),
        (r'Basic realm="a \"b\""', [Challenge("basic", {"realm": 'a "b"'})]),
        ("", []),
        ("=", []),
    ],
)
def test_parse_challenges(header: str, challenges: list[Challenge]) -> None:
    assert parse_challenges(header) == challenges


@given(st.text(max_size=200))
def test_any_header_is_challenges(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme


@pytest.mark.parametrize(
    ("registry", "realm", "may"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token", True),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("https://ghcr.io", "https://ghcr.io/token", True),
        ("https://r.example:5000", "https://r.example:5001/auth", True),
        ("https://registry.example.org", "https://evil.org/token", False),
        ("https://registry.example.org", "https://example.org.evil.org/token", False),
        ("https://registry.example.org", "https://notexample.org/token", False),
        ("https://registry.co.uk", "https://evil.co.uk/token", False),
        ("https://example.com", "https://com/token", False),
        ("https://ghcr.io", "https://evil.io/token", False),
        ("https://r.example", "http://r.example/token", False),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", True),
        ("http://127.0.0.1:5000", "http://127.0.0.2:5000/token", False),
        ("http://10.0.0.1", "http://1.0.0.1/token", False),
        ("https://r.example", "https:///token", False),
    ],
)
def test_credentials_go_to_token_services_of_the_same_owner_only(
    registry: str, realm: str, may: bool
) -> None:
    assert may_receive(registry, realm) is may


def test_credentials_are_read_from_every_spelling() -> None:
    assert credentials(None) == credentials({}) == Credentials()
    assert not credentials({"serveraddress": "x"})
    assert credentials({"username": "u", "password": "p"}).basic == "Basic dTpw"
    assert credentials({"auth": base64.b64encode(b"u:p:q").decode()}) == Credentials("u", "p:q")
    assert credentials({"identitytoken": "t"}).identity_token == "t"
    assert credentials({"registrytoken": "t"})


@pytest.mark.parametrize(
    "auth", [{"username": 5}, {"auth": "%%%"}, {"username": "a\r\nX: y", "password": "b"}]
)
def test_credentials_that_cannot_be_are_refused(auth: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        credentials(auth)


def test_credentials_do_not_show_their_secrets() -> None:
    shown = repr(Credentials("user", "pass-word", "identity", "registry"))
    assert "user" in shown
    assert not {"pass-word", "identity", "registry"} & set(shown.replace("'", " ").split())
    assert "pass-word" not in shown
