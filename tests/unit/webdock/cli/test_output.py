"""Tables, sizes and times as docker writes them."""

from __future__ import annotations

import pytest

from webdock.cli import output
from webdock.cli.containers import container_row, ports_text
from webdock.cli.errors import Failure
from webdock.cli.images import image_rows, split_tag
from webdock.cli.progress import bar
from webdock.cli.watch import cpu_percent


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    text = output.table((("A", "HEAD"), ("B", "B")), [{"A": "a" * 12, "B": "x"}, {"A": "b", "B": "yy"}])
    assert text == "HEAD           B\naaaaaaaaaaaa   x\nb              yy\n"


def test_control_characters_of_a_container_do_not_reach_the_terminal() -> None:
    assert output.one_line("a\x1b[2Jb\nc\x9b") == "a\ufffd[2Jb c\ufffd"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (999, "999B"), (1234, "1.234kB"), (1_982_000, "1.982MB"), (12_345_678_901, "12.35GB")],
)
def test_sizes_are_decimal(count: int, text: str) -> None:
    assert output.size(count) == text


def test_binary_sizes_are_binary() -> None:
    assert output.binary_size(64 * 1024**2) == "64MiB"
    assert output.binary_size(1536) == "1.5KiB"


@pytest.mark.parametrize(
    ("text", "count"),
    [("512", 512), ("1k", 1024), ("1.5m", 1572864), ("2G", 2 * 1024**3), ("3gib", 3 * 1024**3)],
)
def test_sizes_of_options(text: str, count: int) -> None:
    assert output.parse_size(text, "-m") == count


@pytest.mark.parametrize("text", ["", "x", "-1", "1x", "1 2"])
def test_bad_sizes_are_refused(text: str) -> None:
    with pytest.raises(Failure, match="-m"):
        output.parse_size(text, "-m")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (150, "2 minutes"),
        (3600, "About an hour"),
        (7200, "2 hours"),
        (3 * 86400, "3 days"),
        (20 * 86400, "2 weeks"),
        (100 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_ages_in_dockers_words(seconds: float, text: str) -> None:
    assert output.age(seconds) == text


def test_times_of_the_api_are_read_with_nanoseconds_and_never_is_none() -> None:
    assert output.parse_time("2026-01-31T12:00:00.123456789Z") == pytest.approx(1769860800.123456789)
    assert output.parse_time("0001-01-01T00:00:00Z") is None


def test_filters_collect_values_by_key() -> None:
    assert output.filters(["status=a", "status=b", "label=x=y"]) == {"status": ["a", "b"], "label": ["x=y"]}
    assert output.filters([]) is None
    with pytest.raises(Failure):
        output.filters(["status"])


def test_ports_are_drawn_together() -> None:
    ports = [
        {"IP": "0.0.0.0", "PrivatePort": 80 + i, "PublicPort": 8080 + i, "Type": "tcp"} for i in range(3)
    ]
    assert ports_text(ports) == "0.0.0.0:8080-8082->80-82/tcp"
    assert ports_text([{"PrivatePort": 53, "Type": "udp"}, *ports[:1]]) == "0.0.0.0:8080->80/tcp, 53/udp"
    assert ports_text([{"IP": "::", "PrivatePort": 80, "PublicPort": 80, "Type": "tcp"}]) == "[::]:80->80/tcp"


def test_a_container_row_shows_its_own_name_and_a_short_command() -> None:
    row = container_row(
        {
            "Id": "a" * 64,
            "Names": ["/web", "/other/alias"],
            "Command": "sh -c 'sleep 1000000'",
            "Image": "sha256:" + "b" * 64,
        },
        whole=False,
    )
    assert (row["ID"], row["Names"], row["Image"]) == ("a" * 12, "web", "b" * 12)
    assert row["Command"] == '"sh -c \'sleep 100000…"'


def test_an_image_has_a_row_for_each_tag_and_one_without_any() -> None:
    tagged = list(
        image_rows({"Id": "sha256:" + "c" * 64, "RepoTags": ["a:1", "h:5000/b:2"], "Size": 5}, whole=False)
    )
    assert [(row["Repository"], row["Tag"]) for row in tagged] == [("a", "1"), ("h:5000/b", "2")]
    bare = list(
        image_rows(
            {"Id": "sha256:" + "c" * 64, "RepoTags": ["<none>:<none>"], "RepoDigests": []}, whole=False
        )
    )
    assert [(row["Repository"], row["Tag"]) for row in bare] == [("<none>", "<none>")]


def test_a_port_of_a_registry_is_no_tag() -> None:
    assert split_tag("localhost:5000/a") == ("localhost:5000/a", "")
    assert split_tag("localhost:5000/a:1") == ("localhost:5000/a", "1")


def test_a_bar_fills_from_left_to_right() -> None:
    assert bar(0, 10) == "[" + " " * 50 + "]"
    assert bar(10, 10) == "[" + "=" * 49 + ">]"
    assert len(bar(3, 10)) == 52


def test_processor_use_is_a_share_of_all_processors() -> None:
    answer = {
        "cpu_stats": {"cpu_usage": {"total_usage": 150}, "system_cpu_usage": 2000, "online_cpus": 2},
        "precpu_stats": {"cpu_usage": {"total_usage": 50}, "system_cpu_usage": 1000},
    }
    assert cpu_percent(answer) == pytest.approx(20.0)
    assert cpu_percent({}) == 0.0
