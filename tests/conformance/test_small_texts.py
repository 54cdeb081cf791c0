"""Editing a file through the archive keeps its owner and its mode, on every engine."""

from __future__ import annotations

import io
import tarfile

from containers_app.files import run_inside
from containers_app.small_texts import make_directory, read_text, remove_path, write_text
from runtime.api.client import EngineClient
from tests.conformance.conftest import MakeContainer, UnderTest


async def test_an_edited_file_keeps_owner_and_mode(
    client: EngineClient, engine: UnderTest, make_container: MakeContainer
) -> None:
    id = await make_container("sleep", "1000", start=True)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("app.conf")
        info.size, info.mode, info.uid, info.gid = 4, 0o640, 12, 34
        archive.addfile(info, io.BytesIO(b"a=1\n"))
    await client.container_archive_put(id, "/srv" if engine.kind == "fake" else "/tmp", out.getvalue())
    path = "/srv/app.conf" if engine.kind == "fake" else "/tmp/app.conf"
    file = await read_text(client, id, path)
    await write_text(client, id, path, "a=2\n", file.mark)
    again = await read_text(client, id, path)
    assert again.text == "a=2\n"
    if engine.kind == "fake":  # it keeps bytes alone
        return
    assert (again.mode, again.uid, again.gid) == (0o640, 12, 34)
    made = await make_directory(client, id, "/tmp", "new one")
    assert (await run_inside(client, id, ["test", "-d", made]))[0] == 0
    await remove_path(client, id, made)
    assert (await run_inside(client, id, ["test", "-e", made]))[0] == 1
