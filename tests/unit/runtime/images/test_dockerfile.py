from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.errors import InvalidArgument
from runtime.images.dockerfile import apply_changes, split_words


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ('CMD ["a", "b c"]', "Cmd", ["a", "b c"]),
        ("CMD a b", "Cmd", ["/bin/sh", "-c", "a b"]),
        ("cmd []", "Cmd", []),
        ('ENTRYPOINT ["/x"]', "Entrypoint", ["/x"]),
        ('ENV A=1 B=\'two words\' C="q\\"q"', "Env", ["OLD=1", "A=1", "B=two words", 'C=q"q']),
        ("ENV A one two", "Env", ["OLD=1", "A=one two"]),
        ("ENV OLD=2", "Env", ["OLD=2"]),
        ("LABEL a=b c=d", "Labels", {"a": "b", "c": "d"}),
        (
            "EXPOSE 80 443/udp 8000-8002",
            "ExposedPorts",
            {"80/tcp": {}, "443/udp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {}},
        ),
        ("USER nobody:users", "User", "nobody:users"),
        ("WORKDIR b/../c", "WorkingDir", "/a/c"),
        ("WORKDIR /x/y/", "WorkingDir", "/x/y"),
        ('VOLUME ["/v", "/w"]', "Volumes", {"/v": {}, "/w": {}}),
        ("VOLUME /v /w", "Volumes", {"/v": {}, "/w": {}}),
        ("STOPSIGNAL SIGQUIT", "StopSignal", "SIGQUIT"),
        ("ONBUILD RUN x", "OnBuild", ["RUN x"]),
        ('SHELL ["/bin/bash", "-c"]', "Shell", ["/bin/bash", "-c"]),
        ("HEALTHCHECK NONE", "Healthcheck", {"Test": ["NONE"]}),
        (
            "HEALTHCHECK --interval=5s --retries=2 CMD curl localhost",
            "Healthcheck",
            {"Test": ["CMD-SHELL", "curl localhost"], "Interval": 5_000_000_000, "Retries": 2},
        ),
    ],
)
def test_an_instruction_changes_its_key(change: str, key: str, value: Any) -> None:
    config = {"Env": ["OLD=1"], "WorkingDir": "/a"}
    assert apply_changes(config, [change])[key] == value
    assert config == {"Env": ["OLD=1"], "WorkingDir": "/a"}


def test_an_entrypoint_takes_the_command_away_unless_one_comes_with_it() -> None:
    assert apply_changes({"Cmd": ["x"]}, ["ENTRYPOINT y"])["Cmd"] is None
    assert apply_changes({"Cmd": ["x"]}, ['CMD ["z"]', "ENTRYPOINT y"])["Cmd"] == ["z"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("FROM x", "FROM is not a valid change command"),
        ("RUN x", "RUN is not a valid"),
        ("CMD", "requires at least one argument"),
        ("EXPOSE 99999", "invalid containerPort"),
        ("EXPOSE 80/http", "invalid containerPort"),
        ("ENV A", "must have two arguments"),
        ("ENV A=1 B", "can't find ="),
        ("ENV A='x", "looking for matching"),
        ("USER a b", "exactly one"),
        ("ONBUILD ONBUILD x", "isn't allowed"),
        ("SHELL x", "JSON form"),
        ("HEALTHCHECK --interval=x CMD y", "invalid duration"),
    ],
)
def test_a_wrong_instruction_is_refused(change: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        apply_changes({}, [change])


@given(
    st.sampled_from(
        ["CMD", "ENV", "LABEL", "EXPOSE", "USER", "VOLUME", "WORKDIR", "ONBUILD", "SHELL", "HEALTHCHECK"]
    ),
    st.text(),
)
def test_any_arguments_are_taken_or_refused(instruction: str, rest: str) -> None:
    try:
        apply_changes({}, [f"{instruction} {rest}"])
    except InvalidArgument:
        pass


@given(st.text())
def test_split_words_takes_any_text(text: str) -> None:
    try:
        split_words(text)
    except InvalidArgument:
        pass
