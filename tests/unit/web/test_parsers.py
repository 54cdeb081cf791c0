"""The pure parts: what people type, what engines say, bytes cut anywhere."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containers_app.loglines import LINE_MAX_CHARS, LogLines, plain
from containers_app.observed import container_fields, ports_of, summary_differs
from containers_app.rates import rates
from containers_app.runspec import (
    parse_ports,
    parse_restart,
    parse_size,
    parse_volumes,
    parse_words,
)
from containers_app.variables import parse_env, parse_labels
from containers_app.why import exit_meaning
from runtime.api.errors import Forbidden
from webdock.engines.durations import human_duration
from webdock.engines.moments import moment
from webdock.engines.secrets import MASK, environment, line, looks_secret, masked, pairs, words
from webdock.engines.sync import Pending
from webdock.engines.wording import explain


def test_env_takes_a_pasted_env_file() -> None:
    text = "# comment\n\nA=1\nexport B='two words'\nC=x=y\nD\nA=2\n"
    assert parse_env(text) == ["A=2", "B=two words", "C=x=y", "D"]


@pytest.mark.parametrize("line", ["=x", "A B=1"])
def test_env_names_the_line_it_cannot_read(line: str) -> None:
    with pytest.raises(ValueError, match=line):
        parse_env(f"OK=1\n{line}\n")


def test_labels_keep_everything_after_the_first_equals() -> None:
    assert parse_labels("com.example.a=b=c\nbare") == {"com.example.a": "b=c", "bare": ""}


@pytest.mark.parametrize(
    ("line", "exposed", "binding"),
    [
        ("80", "80/tcp", ("", "")),
        ("8080:80", "80/tcp", ("", "8080")),
        ("8053:53/UDP", "53/udp", ("", "8053")),
        ("127.0.0.1:8080:80", "80/tcp", ("127.0.0.1", "8080")),
        ("[::1]:8080:80", "80/tcp", ("::1", "8080")),
        ("127.0.0.1::80", "80/tcp", ("127.0.0.1", "")),
        ("9000-9010:80", "80/tcp", ("", "9000-9010")),
    ],
)
def test_ports_as_docker_writes_them(line: str, exposed: str, binding: tuple[str, str]) -> None:
    ports, bindings = parse_ports(line)
    assert ports == {exposed: {}}
    assert bindings == {exposed: [{"HostIp": binding[0], "HostPort": binding[1]}]}


def test_ports_ranges_go_side_by_side() -> None:
    _ports, bindings = parse_ports("8000-8002:80-82")
    assert {port: one[0]["HostPort"] for port, one in bindings.items()} == {
        "80/tcp": "8000",
        "81/tcp": "8001",
        "82/tcp": "8002",
    }


@pytest.mark.parametrize(
    "line",
    ["x", "80/xtp", "0", "70000", "1:2:3:4", "300.1.1.1:80:80", "8000-8001:80-82", "90-80", "1-2000", ":80:"],
)
def test_ports_name_the_line_they_cannot_read(line: str) -> None:
    with pytest.raises(ValueError):
        parse_ports(line)


@given(st.text(max_size=60))
def test_ports_never_fail_otherwise(text: str) -> None:
    try:
        parse_ports(text)
    except ValueError:
        pass


def test_volumes_are_binds_or_anonymous() -> None:
    assert parse_volumes("data:/var/lib/x\n/srv:/srv:ro\n/cache\n") == (
        ["data:/var/lib/x", "/srv:/srv:ro"],
        {"/cache": {}},
    )


@pytest.mark.parametrize("line", ["data", "data:relative", "a:/b:ro:x", "../x:/y", ":/y"])
def test_volumes_name_the_line_they_cannot_read(line: str) -> None:
    with pytest.raises(ValueError, match="“"):
        parse_volumes(line)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1024", 1024), ("64k", 65536), ("1.5G", 3 << 29), ("512MiB", 512 << 20), ("2 gb", 2 << 30)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1m", "1p", "1e9"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


def test_words_are_cut_like_a_shell_does() -> None:
    assert parse_words("sh -c 'echo \"a b\"'") == ["sh", "-c", 'echo "a b"']
    with pytest.raises(ValueError, match="never closed"):
        parse_words("echo 'x")


def test_restart_policies() -> None:
    assert parse_restart("on-failure:5") == {"Name": "on-failure", "MaximumRetryCount": 5}
    for text in ("sometimes", "always:3", "on-failure:x"):
        with pytest.raises(ValueError, match="restart policy"):
            parse_restart(text)


# Log lines


def split(data: bytes, *cuts: int) -> list[bytes]:
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


LOG = "2026-01-02T03:04:05.123456789Z grüße 👋\r\n\n2026-01-02T03:04:06Z \x1b[31mred\x1b[0m\nlast".encode()
LINES = [
    (1, "grüße 👋", "2026-01-02T03:04:05.123456789Z"),
    (1, "", ""),
    (1, "\x1b[31mred\x1b[0m", "2026-01-02T03:04:06Z"),
    (1, "last", ""),
]


def test_log_lines_cut_at_every_byte_are_the_same() -> None:
    for cut in range(len(LOG) + 1):
        lines = LogLines()
        found = [line for piece in split(LOG, cut) for line in lines.feed(1, piece)]
        assert found + lines.end() == LINES


@given(st.lists(st.integers(0, len(LOG)), max_size=6))
def test_log_lines_cut_anywhere_are_the_same(cuts: list[int]) -> None:
    lines = LogLines()
    found = [line for piece in split(LOG, *cuts) for line in lines.feed(1, piece)]
    assert found + lines.end() == LINES


def test_log_lines_of_two_streams_do_not_mix() -> None:
    lines = LogLines()
    assert lines.feed(1, b"out") == []
    assert lines.feed(2, b"err\n") == [(2, "err", "")]
    assert lines.feed(1, b"put\n") == [(1, "output", "")]


def test_log_line_without_end_is_cut_and_memory_stays_small() -> None:
    lines = LogLines()
    found = [line for _n in range(100) for line in lines.feed(1, b"x" * 65536)] + lines.end()
    assert "".join(text for _stream, text, _time in found) == "x" * 6553600
    assert max(len(text) for _stream, text, _time in found) <= LINE_MAX_CHARS


def test_log_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert LogLines().feed(1, b"\xff\xfe\n") == [(1, "��", "")]


def test_plain_drops_what_a_terminal_would_obey() -> None:
    assert plain("\x1b]52;c;aGk=\x07a\x1b[1;31mb\x1b[0m\x08c\td") == "abc\td"


# Engine JSON


def test_moments_of_go_and_nonsense() -> None:
    assert moment("2026-01-02T03:04:05.123456789Z") == datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)
    assert moment("2026-01-02T03:04:05+02:00") == datetime(2026, 1, 2, 1, 4, 5, 0, UTC)
    for text in ("0001-01-01T00:00:00Z", "", None, "yesterday", 5, "2026-99-02T03:04:05Z"):
        assert moment(text) is None


def test_ports_of_an_inspect_document() -> None:
    ports = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "53/udp": None, "bad": None}
    assert ports_of(ports) == [
        {"private": 80, "public": 8080, "type": "tcp", "ip": "0.0.0.0"},
        {"private": 53, "public": None, "type": "udp", "ip": ""},
    ]
    assert ports_of(None) == []


def test_a_port_published_on_every_address_of_both_families_is_told_once() -> None:
    twins = [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]
    assert [one["ip"] for one in ports_of({"80/tcp": twins})] == ["0.0.0.0"]
    apart = [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8081"}]
    assert [one["public"] for one in ports_of({"80/tcp": apart})] == [8080, 8081]


def test_fields_of_a_document_that_says_nothing() -> None:
    fields = container_fields({"Id": "x"})
    assert fields["name"] == ""
    assert fields["state"] == "dead"
    assert fields["exit_code"] is None


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({}, False),
        ({"State": "exited"}, True),
        ({"Names": ["/other"]}, True),
        ({"Names": ["/link/alias", "/web"]}, False),
        ({"Status": "Up 2 minutes (unhealthy)"}, True),
    ],
)
def test_a_summary_gives_reason_to_look_only_when_it_differs(change: dict[str, Any], differs: bool) -> None:
    row = {"name": "web", "state": "running", "health": "", "image": "x"}
    summary = {"State": "running", "Names": ["/web"], "Status": "Up 2 minutes", **change}
    assert summary_differs(summary, row) is differs


def sample(second: int, cpu: int, rx: int = 0) -> dict[str, Any]:
    return {
        "read": f"2026-01-02T03:04:{second:02}Z",
        "cpu_stats": {"cpu_usage": {"total_usage": cpu}},
        "memory_stats": {"usage": 1000, "limit": 5000, "stats": {"inactive_file": 300}},
        "networks": {"eth0": {"rx_bytes": rx, "tx_bytes": 0}},
        "blkio_stats": {
            "io_service_bytes_recursive": [{"op": "Read", "value": rx}, {"op": "write", "value": 7}]
        },
        "pids_stats": {"current": 3},
    }


def test_rates_come_from_two_samples() -> None:
    first = rates(None, sample(5, 10**9))
    assert (first["cpu"], first["rx"], first["memory"], first["pids"]) == (0.0, 0, 700, 3)
    now = rates(sample(5, 10**9, 100), sample(7, 2 * 10**9, 1100))
    assert (now["cpu"], now["rx"], now["read"], now["write"]) == (50.0, 500, 500, 0)


def test_rates_after_a_restart_count_from_zero() -> None:
    now = rates(sample(5, 9 * 10**9, 5000), sample(6, 10**9, 40))
    assert (now["cpu"], now["rx"]) == (0.0, 40)


def test_rates_of_an_empty_sample() -> None:
    assert rates(None, {})["cpu"] == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (150, "2 minutes"),
        (3700, "About an hour"),
        (7200, "2 hours"),
        (3 * 86400, "3 days"),
        (15 * 86400, "2 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
        (-5, "Less than a second"),
    ],
)
def test_durations_in_the_words_of_docker(seconds: float, text: str) -> None:
    assert human_duration(timedelta(seconds=seconds)) == text


def test_exit_codes_have_meanings() -> None:
    assert "SIGKILL" in exit_meaning(137)
    assert "not found" in exit_meaning(127)
    assert exit_meaning(0)
    assert exit_meaning(3)
    assert exit_meaning(128 + 33) == ""


@pytest.mark.parametrize(
    "name", ["DB_PASSWORD", "API_KEY", "github_token", "AWS_SECRET_ACCESS_KEY", "SENTRY_DSN"]
)
def test_names_of_secrets(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["PATH", "KEYBOARD", "PWD_DIR", "COMPASS_HEADING", "MONKEY"])
def test_names_of_no_secrets(name: str) -> None:
    assert not looks_secret(name)


def test_documents_are_masked_in_a_copy() -> None:
    document = {"Config": {"Env": ["A=1", "TOKEN=abc", "URL=redis://u:pw@h/0"], "Cmd": ["x"]}}
    shown = masked(document)
    assert shown["Config"]["Env"] == ["A=1", f"TOKEN={MASK}", f"URL=redis://u:{MASK}@h/0"]
    assert shown["Config"]["Cmd"] == ["x"]
    assert document["Config"]["Env"][1] == "TOKEN=abc"
    assert masked({}) == {}


def test_secrets_are_masked_wherever_they_stand() -> None:
    document = {
        "Path": "serve",
        "Args": [
            "--password=topsecret",
            "--api-key",
            "topsecret",
            "-p",
            "80",
            "--url",
            "http://me:topsecret@h",
        ],
        "Config": {
            "Cmd": ["sh", "-c", "DB_PASSWORD='topsecret' run --token topsecret --verbose"],
            "Labels": {"com.example.token": "topsecret", "team": "shop"},
            "Healthcheck": {"Test": ["CMD", "check", "--secret", "topsecret"]},
        },
        "HostConfig": {"LogConfig": {"Type": "splunk", "Config": {"splunk-token": "topsecret", "tag": "x"}}},
        "State": {"Health": {"Log": [{"Output": 'refused {"password": "topsecret"}', "ExitCode": 1}]}},
    }
    before = copy.deepcopy(document)
    shown = masked(document)
    assert "topsecret" not in json.dumps(shown)
    assert document == before
    assert shown["Args"][3:6] == ["-p", "80", "--url"]
    assert shown["Config"]["Labels"]["team"] == "shop"
    assert shown["Config"]["Cmd"][2].endswith(f"--token {MASK} --verbose")
    assert shown["State"]["Health"]["Log"][0]["ExitCode"] == 1


def test_what_is_no_secret_is_shown_as_it_is() -> None:
    for text in ("nginx -g 'daemon off;'", "--user=me --key-file=/x", "sleep 1000", "a = b"):
        assert line(text) == text
    assert words(None) == []
    assert pairs(None) == {}


def test_documents_of_nothing_are_nothing() -> None:
    assert environment(None) == []


async def test_pending_ids_are_each_once_in_order_and_bounded() -> None:
    pending = Pending(maximum=3)
    for id in ("a", "b", "a", "c"):
        pending.note("container", id)
    assert pending.take(2) == {"container": ["a", "b"]}
    assert await pending.wait(0.01)
    assert pending.take() == {"container": ["c"]}
    assert not await pending.wait(0.01)
    for id in "abcd":
        pending.note("image", id)
    assert pending.overflowed
    assert pending.take() == {"image": ["d"]}


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ("not allowed on this socket: privileged", "The engine's policy refuses this: Not allowed on this"),
        ("error while removing network: network shop has active endpoints", "Error while removing network"),
    ],
)
def test_only_the_policy_is_blamed_for_its_refusals(refusal: str, said: str) -> None:
    assert explain(Forbidden(refusal)).startswith(said)
