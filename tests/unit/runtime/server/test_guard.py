"""What the guard asks of the file system before a confined request is carried out."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.api.errors import Forbidden
from runtime.config import parse_config
from runtime.server.confined_mounts import bind_sources
from runtime.server.guard import _refuse_links
from runtime.server.policy import Policy


def test_no_link_leads_out_of_an_allowed_directory(tmp_path: Path) -> None:
    (tmp_path / "real/deep").mkdir(parents=True)
    (tmp_path / "upper").symlink_to("real")
    (tmp_path / "real/out").symlink_to("/etc")
    (tmp_path / "real/in").symlink_to("deep")
    text = f'[policy]\nallowed_binds = ["{tmp_path}/upper:ro", "{tmp_path}/real/in"]'
    rules = Policy(parse_config(text, file=Path("x"), home=Path("/h"), run=Path("/r")).policy)
    # What the configuration names may be, or lie behind, a link: whoever wrote it knows.
    _refuse_links([f"{tmp_path}/{one}" for one in ("upper", "upper/deep", "real/in")], rules)
    for source in ("upper/out", "upper/out/ssl", "upper/in", "upper/./out"):
        with pytest.raises(Forbidden, match="leads through a link"):
            _refuse_links([f"{tmp_path}/{source}"], rules)


def test_every_host_path_of_a_request_is_looked_at() -> None:
    host = {
        "Binds": ["/a:/x", "/b:/x:ro", "named:/y", "/only"],
        "Mounts": [{"Type": "bind", "Source": "/c"}, {"Type": "volume", "Source": "v"}],
    }
    assert bind_sources({"HostConfig": host}) == ["/a", "/b", "/c"]
    assert bind_sources({}) == []
