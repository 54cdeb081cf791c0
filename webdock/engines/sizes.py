"""Sizes as people read them, in the units of the Docker client. Pure."""

from __future__ import annotations

DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB")
BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
SPACE = "\N{NO-BREAK SPACE}"


def disk_size(count: float) -> str:
    """Decimal, three digits, as ``docker images`` counts: 1975412 -> 1.98 MB."""
    return _text(count, 1000, DECIMAL)


def memory_size(count: float) -> str:
    """Binary, three digits, as ``docker stats`` counts memory: 222298112 -> 212 MiB."""
    return _text(count, 1024, BINARY)


def _text(count: float, base: int, units: tuple[str, ...]) -> str:
    value, at = max(0.0, float(count)), 0
    # Rounding comes first: 999.6 of one unit is one of the next, not "1000".
    while round(value) >= base and at < len(units) - 1:
        value /= base
        at += 1
    number = f"{value:.0f}" if value >= 99.95 or at == 0 else f"{value:.3g}"
    return f"{number}{SPACE}{units[at]}"
