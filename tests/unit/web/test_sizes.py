"""Sizes in the units of the Docker client."""

from __future__ import annotations

import pytest

from webdock.engines.sizes import SPACE, disk_size, memory_size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1_975_412, "1.98 MB"),
        (13_256_000, "13.3 MB"),
        (142_500_000, "142 MB"),
        (999_999_999, "1 GB"),
        (5e18, "5000 PB"),
    ],
)
def test_sizes_on_disk_are_decimal_as_docker_images_shows_them(count: float, text: str) -> None:
    assert disk_size(count).replace(SPACE, " ") == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1 << 20, "1 MiB"), (222_298_112, "212 MiB"), (8_200_000_000, "7.64 GiB")],
)
def test_memory_is_binary_as_docker_stats_shows_it(count: float, text: str) -> None:
    assert memory_size(count).replace(SPACE, " ") == text
