"""A file beside its image's: lines that differ, bounded in time and size; what is no small text says so."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient
from hypothesis import given, settings
from hypothesis import strategies as st

from containers_app.files import bring_in
from containers_app.textdiff import COMPARED_LINES_MAX, SHOWN_LINES_MAX, Comparison, compare
from runtime.api.client import EngineClient
from tests.fakes.containers import IMAGE_FILES
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import make_container
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync

SIGNS = {"same": " ", "removed": "-", "added": "+", "gap": "@"}


def drawn(found: Comparison) -> list[str]:
    return [f"{SIGNS[line.kind]}{line.text or line.skipped or ''}" for line in found.lines]


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("", "", []),
        ("a\n", "a\n", []),
        ("", "a\nb", ["+a", "+b"]),
        ("a\n", "", ["-a"]),
        ("a\nb\nc\n", "a\nx\nc\n", [" a", "-b", "+x", " c"]),
        ("a", "a\n", ["-a", "+a"]),
        ("a\r\n", "a\n", ["-a␍", "+a"]),
        (
            "".join(f"{n}\n" for n in range(1, 21)),
            "".join(f"{n}\n" for n in range(1, 21) if n != 10),
            ["@6", " 7", " 8", " 9", "-10", " 11", " 12", " 13", "@7"],
        ),
    ],
)
def test_lines_that_differ_and_a_few_around_them(before: str, after: str, lines: list[str]) -> None:
    assert drawn(compare(before, after)) == lines


texts = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n"]), max_size=30).map("".join)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(texts, texts, st.sampled_from([0.0, 9.0]))
def test_the_lines_are_all_of_both_versions(before: str, after: str, max_s: float) -> None:
    found = compare(before, after, max_s=max_s)  # with no time at all, too
    old, new = before.split("\n"), after.split("\n")
    for line in found.lines:
        assert line.old is None or line.text == old[line.old - 1]
        assert line.new is None or line.text == new[line.new - 1]
    assert found.added - found.removed == after.count("\n") - before.count("\n")
    assert bool(found.lines) == (before != after)


def test_long_ones_are_bounded() -> None:
    found = compare("a\n" * (COMPARED_LINES_MAX + 5), "b\n" * 3)
    assert (found.removed, found.added) == (COMPARED_LINES_MAX + 5, 3)
    assert len(found.lines) == SHOWN_LINES_MAX
    assert found.cut == COMPARED_LINES_MAX + 8 - SHOWN_LINES_MAX
    (line,) = compare("", "x" * 9000).lines
    assert len(line.text) < 2100


async def test_a_changed_file_is_shown_against_its_image(
    synced: EngineSync, api: EngineClient, fake: FakeEngine, as_operator: AsyncClient, as_viewer: AsyncClient
) -> None:
    id = await make_container(api, "web")
    now = IMAGE_FILES["/etc/passwd"] + b"<b>\xe2\x80\xae:x\n"
    await bring_in(api, id, "/etc", SimpleUploadedFile("passwd", now))
    await bring_in(api, id, "/srv", SimpleUploadedFile("new", b"one\n"))
    await bring_in(api, id, "/srv", SimpleUploadedFile("bytes", b"\0\xff"))
    page = f"/containers/{id}/files/compare/"
    listed = (await as_operator.get(f"/containers/{id}/files/")).content.decode()
    assert f'href="{page}?path=/etc/passwd"' in listed or f'href="{page}?path=%2Fetc%2Fpasswd"' in listed
    shown = await as_operator.get(page, {"path": "/etc/passwd"})
    assert drawn(shown.context["file"].comparison) == [" root:x:0:0:root:/root:/bin/sh", "+<b>⟨U+202E⟩:x"]
    assert "<ins><bdi>&lt;b&gt;⟨U+202E⟩:x</bdi></ins>" in shown.content.decode()
    added = await as_operator.get(page, {"path": "/srv/new"})
    assert drawn(added.context["file"].comparison) == ["+one"]
    refused = await as_operator.get(page, {"path": "/srv/bytes"})
    assert "/srv/bytes is not text" in refused.content.decode()
    for path in ("/srv/nothing", ""):
        missing = await as_operator.get(page, {"path": path}, headers={"accept": "application/json"})
        assert missing.status_code == 404
        assert "is as its image has it" in missing.json()["message"]
    one = fake.rooms.containers.get(id)
    del one.files["/etc/passwd"]
    one.gone.add("/etc/passwd")
    deleted = await as_operator.get(page, {"path": "/etc/passwd"})
    assert drawn(deleted.context["file"].comparison) == ["-root:x:0:0:root:/root:/bin/sh"]
    assert "/files/download/" not in deleted.content.decode()
    assert (await as_viewer.get(page, {"path": "/etc/passwd"})).status_code == 403
    assert await AuditEntry.objects.filter(action="container.file.read", detail="/etc/passwd").acount() == 2
