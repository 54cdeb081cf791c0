"""Records on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.network.store import Records, load_networks, load_sandboxes


@pytest.fixture
def records(tmp_path: Path) -> Records:
    made = Records(tmp_path / "records", durable=True)
    made.prepare()
    return made


def test_record_is_written_read_and_deleted(records: Records) -> None:
    records.save("a", {"x": 1})
    records.save("a", {"x": 2})
    assert records.load() == {"a": {"x": 2}}
    records.delete("a")
    records.delete("a")
    assert records.load() == {}


def test_half_written_record_is_dropped(records: Records, tmp_path: Path) -> None:
    records.save("a", {"x": 1})
    (tmp_path / "records" / ".a.new").write_text('{"x": ')
    records.prepare()
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["a.json"]
    assert records.load() == {"a": {"x": 1}}


def test_unreadable_record_is_logged_and_left(
    records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "records" / "bad.json").write_text("{")
    assert load_networks(records) == {}
    assert "bad.json cannot be read" in caplog.text
    assert (tmp_path / "records" / "bad.json").exists()


def test_record_of_another_shape_is_not_used(records: Records, caplog: pytest.LogCaptureFixture) -> None:
    records.save("a", {"name": "x"})
    assert load_networks(records) == {}
    assert load_sandboxes(records) == {}
    assert "cannot be used" in caplog.text
