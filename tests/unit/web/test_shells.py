"""Which shells are offered: what the container has, the best first, and nothing it only claims."""

from __future__ import annotations

import subprocess

import pytest

from containers_app.shells import KNOWN, QUESTION, SHELLS_MAX, parse_shells


@pytest.mark.parametrize(
    ("answer", "offered"),
    [
        ("", ["sh"]),
        ("/bin/sh\n/bin/ash\n", ["/bin/sh", "/bin/ash"]),
        (
            "/usr/bin/bash\n/usr/bin/sh\n/usr/bin/dash\n/bin/bash\n",
            ["/usr/bin/bash", "/usr/bin/sh", "/usr/bin/dash"],
        ),
        ("sh\nash\n", ["sh", "ash"]),
        ("/bin/sh\n/usr/bin/zsh\n/opt/bin/xonsh\n", ["/usr/bin/zsh", "/bin/sh", "/opt/bin/xonsh"]),
        ("/bin/sh\n/usr/sbin/nologin\n/usr/bin/tmux\n/bin/rbash\n", ["/bin/sh"]),
        ("alias bash='rm -rf /'\n/bin/ba sh\n\x1b]0;x\x07\n/bin/$(x)\nxonsh\n", ["sh"]),
    ],
)
def test_shells_are_offered_by_name_the_best_first(answer: str, offered: list[str]) -> None:
    assert [words[0] for words in parse_shells(answer)] == offered


def test_of_what_the_engine_found_nothing_is_assumed() -> None:
    assert parse_shells("", asked="") == []
    assert parse_shells("/bin/bash\n/usr/bin/tmux", asked="") == [["/bin/bash"]]
    assert parse_shells("/busybox/busybox", asked="") == [["/busybox/busybox", "sh"]]


def test_an_answer_without_end_is_cut() -> None:
    assert len(parse_shells("".join(f"/opt/shell{n}\n" for n in range(500)))) == SHELLS_MAX


def test_the_question_is_one_every_sh_answers() -> None:
    done = subprocess.run(["sh", "-c", QUESTION, "sh", *KNOWN], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert any(words[0].endswith("/sh") for words in parse_shells(done.stdout))
