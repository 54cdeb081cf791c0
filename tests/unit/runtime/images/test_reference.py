from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.errors import InvalidArgument
from runtime.images import reference as references
from runtime.images.reference import Reference, parse, parse_with_tag

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("debian", "docker.io/library/debian", "debian"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("library/debian", "docker.io/library/debian", "debian"),
        ("docker.io/debian", "docker.io/library/debian", "debian"),
        ("index.docker.io/debian", "docker.io/library/debian", "debian"),
        ("webdock/hello", "docker.io/webdock/hello", "webdock/hello"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/x", "localhost/x", "localhost/x"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
        ("127.0.0.1:5000/a/b:v1", "127.0.0.1:5000/a/b:v1", "127.0.0.1:5000/a/b:v1"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        ("ghcr.io/o/n@" + DIGEST, "ghcr.io/o/n@" + DIGEST, "ghcr.io/o/n@" + DIGEST),
        ("a:1@" + DIGEST, "docker.io/library/a:1@" + DIGEST, "a:1@" + DIGEST),
        ("foo_bar.com/x", "foo_bar.com/x", None),
        ("a__b-c.d", "docker.io/library/a__b-c.d", "a__b-c.d"),
        ("HOST/x", "HOST/x", "HOST/x"),
        ("ab" * 31, "docker.io/library/" + "ab" * 31, "ab" * 31),
    ],
)
def test_parse_fills_in_what_docker_fills_in(text: str, full: str, familiar: str | None) -> None:
    if familiar is None:
        with pytest.raises(InvalidArgument):
            parse(text)
        return
    found = parse(text)
    assert str(found) == full
    assert found.familiar == familiar


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid reference format"),
        ("Debian", "must be lowercase"),
        ("a/../b", "invalid reference format"),
        ("../a", "invalid reference format"),
        ("/a", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a:-x", "invalid reference format"),
        ("a:" + "x" * 129, "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a@sha256:12", "invalid digest format"),
        ("a@md5:" + "a" * 32, "unsupported digest algorithm"),
        ("a@" + DIGEST.upper(), "unsupported digest algorithm"),
        ("a\n", "invalid reference format"),
        ("a:b\n", "invalid reference format"),
        ("host.example/" + "a" * 256, "must not be more than 255 characters"),
        ("ab" * 32, "cannot specify 64-byte hexadecimal strings"),
        ("http://host/x", "invalid reference format"),
        ("host:port/x", "invalid reference format"),
    ],
)
def test_parse_refuses_what_is_no_reference(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse(text)


def test_the_separate_tag_wins_over_the_one_in_the_name() -> None:
    assert parse_with_tag("a:1", "2").familiar == "a:2"
    assert parse_with_tag("a:1", None).familiar == "a:1"
    assert parse_with_tag("a", DIGEST).familiar == f"a@{DIGEST}"
    assert parse_with_tag("a:1", DIGEST).familiar == f"a@{DIGEST}"


def test_latest_is_what_nothing_means() -> None:
    assert parse("a").with_default_tag().familiar == "a:latest"
    assert parse(f"a@{DIGEST}").with_default_tag().tag is None


@pytest.mark.parametrize(
    ("text", "digits"),
    [("ab12", "ab12"), ("sha256:ab", "ab"), ("AB", None), ("xyz", None), ("", None), ("a" * 65, None)],
)
def test_id_prefix_takes_what_can_be_an_id(text: str, digits: str | None) -> None:
    assert references.id_prefix(text) == digits


_alnum = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=6)
_component = st.builds(
    lambda first, rest: first + "".join(sign + part for sign, part in rest),
    _alnum,
    st.lists(st.tuples(st.sampled_from([".", "_", "__", "-", "---"]), _alnum), max_size=2),
)
_path = st.lists(_component, min_size=1, max_size=4).map("/".join)
_domain = st.sampled_from(
    ["docker.io", "localhost", "localhost:5000", "127.0.0.1:80", "registry.example", "[::1]:5"]
)
_tag = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
_digest = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:".__add__)


@given(_domain, _path, st.none() | _tag, st.none() | _digest)
def test_what_was_parsed_parses_again_to_the_same(
    domain: str, path: str, tag: str | None, digest: str | None
) -> None:
    text = f"{domain}/{path}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    found = parse(text)
    assert parse(str(found)) == found
    assert parse(found.familiar) == found
    assert (found.tag, found.digest) == (tag, digest)
    assert ".." not in found.path.split("/")


@given(st.text(max_size=300))
def test_parse_answers_any_text_with_a_reference_or_invalid_argument(text: str) -> None:
    try:
        found = parse(text)
    except InvalidArgument:
        return
    assert isinstance(found, Reference)
    assert parse(str(found)) == found
    assert not set(str(found)) & set(" \t\n\\%?#'\"")
