from __future__ import annotations

import pytest

from runtime.api.errors import InvalidArgument
from runtime.images.platform import Platform, choose, fit, host, of_json, parse


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/x86_64", Platform("linux", "amd64")),
        ("amd64", Platform("linux", "amd64")),
        ("linux/arm64/v8", Platform("linux", "arm64")),
        ("aarch64", Platform("linux", "arm64")),
        ("linux/arm", Platform("linux", "arm", "v7")),
        ("linux/arm/v6", Platform("linux", "arm", "v6")),
        ("LINUX/AMD64", Platform("linux", "amd64")),
        ("windows/amd64", Platform("windows", "amd64")),
    ],
)
def test_parse_knows_the_many_names_of_one_platform(text: str, platform: Platform) -> None:
    assert parse(text) == platform


def test_a_system_alone_means_this_machine() -> None:
    assert parse("linux") == Platform("linux", host().architecture)


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux/am d64", "x" * 40])
def test_parse_refuses_what_is_none(text: str) -> None:
    with pytest.raises(InvalidArgument, match="unknown operating system or architecture"):
        parse(text)


def test_fit_prefers_the_exact_and_then_the_newest_that_runs() -> None:
    v7 = Platform("linux", "arm", "v7")
    assert fit(v7, v7) == 0
    assert fit(v7, Platform("linux", "arm", "v6")) == 1
    assert fit(Platform("linux", "arm", "v6"), v7) is None
    assert fit(Platform("linux", "amd64"), Platform("windows", "amd64")) is None
    assert fit(Platform("linux", "amd64"), Platform("linux", "386")) is not None
    assert fit(Platform("linux", "386"), Platform("linux", "amd64")) is None


def test_a_variant_above_the_machine_is_not_chosen() -> None:
    amd, v3 = Platform("linux", "amd64"), Platform("linux", "amd64", "v3")
    assert fit(amd, v3) is None
    assert choose(amd, [v3, amd]) == 1
    assert choose(v3, [amd]) == 0


def test_choose_takes_entries_without_a_platform_last() -> None:
    amd = Platform("linux", "amd64")
    assert choose(amd, [None, amd]) == 1
    assert choose(amd, [None]) == 0
    assert choose(amd, [Platform("linux", "s390x")]) is None
    assert choose(amd, []) is None


def test_of_json_reads_what_indexes_say() -> None:
    assert of_json({"os": "linux", "architecture": "arm64", "variant": "v8"}) == Platform("linux", "arm64")
    assert of_json({}) == Platform("", "")
