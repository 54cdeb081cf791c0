"""What stands in one audit log and not in the other: told by the comparison, and by its exit code."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runtime.server.audit import OPENING, STREAMS
from runtime.server.routes import ROUTES
from webdock.cli import audit, command, comparison
from webdock.cli.comparison import ACTIONS, Difference, compare
from webdock.people.api_rules import RULES

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
WEB = "a" * 64


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def line(at: float, operation: str, path: str, **more: Any) -> dict[str, Any]:
    """One of the engine's, of a call that ended then."""
    return {
        "time": stamp(at),
        "socket": "web",
        "uid": 990,
        "pid": 7,
        "actor": "alice",
        "method": "POST",
        "path": path,
        "operation": operation,
        "event": "end",
        "verdict": "allowed",
        "status": 204,
        "duration_ms": 20.0,
        **more,
    }


def stop(at: float, **more: Any) -> dict[str, Any]:
    return line(at, "container_stop", f"/v1.47/containers/{WEB}/stop?t=3", container=WEB, **more)


def row(at: float, action: str, id: str = WEB, name: str = "web", **more: Any) -> dict[str, Any]:
    """One of the pages', of what was asked for then."""
    return {
        "at": stamp(at),
        "username": "alice",
        "action": action,
        "object_id": id,
        "object_name": name,
        "result": "ok",
        "duration_ms": 30,
        **more,
    }


def differ(lines: list[Any], rows: list[Any], tolerance_s: float = 1.0) -> Difference:
    return compare(lines, rows, since=NOON - 3600, until=NOON + 3600, tolerance_s=tolerance_s)


def test_a_call_and_its_row_are_the_same() -> None:
    found = differ([stop(NOON + 0.03)], [row(NOON, "container.stop")])
    assert not found.found
    assert found.compared == (1, 1)


def test_a_row_that_was_removed_is_missed() -> None:
    lines = [stop(NOON + 0.03), stop(NOON + 60.03)]
    found = differ(lines, [row(NOON + 60, "container.stop")])
    assert [call.line for call in found.calls] == lines[:1]
    assert not found.rows


def test_a_row_that_was_made_up_is_told() -> None:
    made_up = row(NOON, "container.stop")
    assert [one.row for one in differ([], [made_up]).rows] == [made_up]
    assert not differ([], [row(NOON, "container.stop", result="refused")]).found  # before it was asked


@pytest.mark.parametrize(
    "forged",
    [
        {"actor": "mallory"},
        {"container": "b" * 64, "path": f"/containers/{'b' * 64}/stop"},
        {"operation": "container_kill", "path": f"/containers/{WEB}/kill"},
        {"time": stamp(NOON + 600)},
        {"operation": "", "path": "/secrets", "method": "GET", "verdict": "refused", "status": 403},
    ],
)
def test_a_call_that_the_row_is_not_about_is_told(forged: dict[str, Any]) -> None:
    found = differ([stop(NOON + 0.03), {**stop(NOON + 0.03), **forged}], [row(NOON, "container.stop")])
    assert len(found.calls) == 1
    assert forged.items() <= found.calls[0].line.items()


def test_one_row_stands_for_one_call() -> None:
    assert len(differ([stop(NOON + 0.02), stop(NOON + 0.03)], [row(NOON, "container.stop")]).calls) == 1


def test_a_recreation_stands_for_all_its_steps_while_it_goes_on() -> None:
    steps = ("rename", "create", "stop", "start", "remove")
    lines = [
        line(NOON + at, f"container_{step}", f"/containers/{at}/{step}") for at, step in enumerate(steps, 1)
    ]
    assert not differ(lines, [row(NOON, "container.recreate", duration_ms=6000)]).found
    late = line(NOON + 20, "container_create", "/containers/create?name=web")
    assert len(differ([*lines, late], [row(NOON, "container.recreate", duration_ms=6000)]).calls) == 1


def test_a_terminal_goes_on_after_its_row_and_only_in_its_container() -> None:
    opened = row(NOON - 90_000, "container.shell")
    attached = line(NOON, "exec_attach", "/exec/abc/attach", container=WEB, event="begin", actor="bob")
    assert not differ([attached], [opened]).found
    assert differ([{**attached, "container": "b" * 64}], [opened]).found
    assert differ([attached], [row(NOON + 60, "container.shell")]).found  # opened only later
    other = line(NOON, "exec_create", f"/containers/{WEB}/exec", container=WEB)
    assert differ([other], [opened]).found  # a new program in it is not the old terminal


def test_the_clocks_may_differ_by_the_tolerance() -> None:
    pair = [stop(NOON + 4)], [row(NOON, "container.stop")]
    assert differ(*pair, tolerance_s=1).found
    assert not differ(*pair, tolerance_s=5).found


def test_root_over_engine_sock_is_counted_and_not_judged() -> None:
    found = differ([stop(NOON, socket="engine")], [])
    assert not found.found
    assert found.others == 1


def test_every_operation_that_is_written_down_belongs_to_an_action() -> None:
    """An operation that is new belongs to an action of the pages, or shows up whenever it is asked for."""
    written = {one.operation for one in ROUTES if one.method not in ("GET", "HEAD")} | OPENING
    never = {  # nothing of the pages asks for them
        *("build_prune", "container_attach_websocket", "container_commit", "image_verify"),
    }
    known = {operation for one in ACTIONS.values() for operation in one.operations} | comparison.WHILE_OPEN
    assert written - never - comparison.WITHOUT_A_ROW == known
    assert set(comparison.STREAMS) == STREAMS


def test_every_action_of_the_api_is_known() -> None:
    assert {rule.action for _method, _path, rule in RULES} - {""} <= set(ACTIONS)


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write both logs; root's rights are not needed for files of one's own."""
    monkeypatch.setattr(audit, "need_root", lambda verb: None)
    directory = tmp_path / "engine" / "audit"
    directory.mkdir(parents=True)

    def write(lines: list[Any], rows: list[Any]) -> list[str]:
        (directory / "audit.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
        said = "".join(f"{json.dumps(one)}\n" for one in [{"days": 365}, *rows])
        monkeypatch.setattr(audit, "managed", lambda *_: said)
        times = ["--since", stamp(NOON - 60), "--until", stamp(NOON + 60)]
        return ["audit", "compare", "--home", str(tmp_path), *times]

    return write


def test_the_command_says_what_differs_and_ends_with_1(logs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    both = [stop(NOON + 0.03)], [row(NOON, "container.stop")]
    assert command.run(logs(*both)) == 0
    assert "each has its counterpart" in capsys.readouterr().out
    assert command.run(logs(both[0], [])) == 1
    assert "In the engine's log" in capsys.readouterr().out
    assert command.run([*logs([], both[1]), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["same"], told["only_in_engine"], told["only_in_pages"]) == (False, [], both[1])


def test_what_cannot_be_read_is_no_agreement(logs: Any, tmp_path: Path) -> None:
    asked = logs([], [])
    (tmp_path / "engine" / "audit" / "audit.jsonl").unlink()
    assert command.run(asked) == 2
