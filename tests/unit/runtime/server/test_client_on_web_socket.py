"""Everything EngineClient can say is known to the confined socket; refusals are about the content."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, Forbidden
from tests.fakes.engine import FakeEngine

X = "x" * 12
LABELS = {"label": ["a=b"]}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[EngineClient]:
    async with FakeEngine(tmp_path) as fake, EngineClient(fake.web_url) as client:
        yield client


CALLS: dict[str, Callable[[EngineClient], Awaitable[object]]] = {
    "ping": lambda c: c.ping(),
    "version": lambda c: c.version(),
    "info": lambda c: c.info(),
    "system_df": lambda c: c.system_df(["image", "volume"]),
    "auth": lambda c: c.auth({"username": "u", "password": "p", "serveraddress": "docker.io"}),
    "events": lambda c: c.events(since=1, until=2, filters={"type": ["container"]}).open(),
    "container_list": lambda c: c.container_list(all=True, limit=5, size=True, filters=LABELS),
    "container_create": lambda c: c.container_create({"Image": X}, name=X, platform="linux/amd64"),
    "container_inspect": lambda c: c.container_inspect(X, size=True),
    "container_start": lambda c: c.container_start(X, detach_keys="ctrl-p"),
    "container_stop": lambda c: c.container_stop(X, timeout_s=1, signal="TERM"),
    "container_restart": lambda c: c.container_restart(X, timeout_s=1, signal="TERM"),
    "container_kill": lambda c: c.container_kill(X, signal="HUP"),
    "container_pause": lambda c: c.container_pause(X),
    "container_unpause": lambda c: c.container_unpause(X),
    "container_rename": lambda c: c.container_rename(X, "y" * 5),
    "container_update": lambda c: c.container_update(X, {"Memory": 1 << 26, "RestartPolicy": {"Name": "no"}}),
    "container_remove": lambda c: c.container_remove(X, force=True, volumes=True, link=True),
    "container_wait": lambda c: c.container_wait(X, condition="removed"),
    "container_wait_started": lambda c: c.container_wait_started(X),
    "container_top": lambda c: c.container_top(X, ps_args="aux"),
    "container_logs": lambda c: c.container_logs(
        X, follow=True, since=1, until=2, timestamps=True, tail=5, tty=False
    ).open(),
    "container_stats": lambda c: c.container_stats(X).open(),
    "container_stats_once": lambda c: c.container_stats_once(X, one_shot=True),
    "container_usage": lambda c: c.container_usage(["a" * 64, "b" * 64]),
    "container_resize": lambda c: c.container_resize(X, height=1, width=1),
    "container_attach": lambda c: c.container_attach(X, logs=True, detach_keys="ctrl-p", tty=True),
    "container_changes": lambda c: c.container_changes(X),
    "container_export": lambda c: c.container_export(X).open(),
    "container_archive": lambda c: c.container_archive(X, "/").open(),
    "container_image_archive": lambda c: c.container_image_archive(X, "/").open(),
    "container_shells": lambda c: c.container_shells(X),
    "container_archive_stat": lambda c: c.container_archive_stat(X, "/"),
    "container_archive_put": lambda c: c.container_archive_put(X, "/", b"", no_overwrite_dir_non_dir=True),
    "container_commit": lambda c: c.container_commit(
        X, repo="r", tag="t", comment="c", author="a", changes="CMD x", body={"Cmd": ["x"]}
    ),
    "container_prune": lambda c: c.container_prune(filters=LABELS),
    "exec_create": lambda c: c.exec_create(X, {"Cmd": ["sh"], "Tty": True, "ConsoleSize": [1, 1]}),
    "exec_start": lambda c: c.exec_start(X, tty=True, console_size=(24, 80)),
    "exec_start_detached": lambda c: c.exec_start_detached(X, tty=True),
    "exec_inspect": lambda c: c.exec_inspect(X),
    "exec_resize": lambda c: c.exec_resize(X, height=1, width=1),
    "exec_attach": lambda c: c.exec_attach(X, tty=True),
    "exec_kill": lambda c: c.exec_kill(X, signal="HUP"),
    "exec_end": lambda c: c.exec_end(X),
    "image_list": lambda c: c.image_list(
        all=True, digests=True, shared_size=True, manifests=True, filters=LABELS
    ),
    "image_layers": lambda c: c.image_layers(X),
    "image_layer_changes": lambda c: c.image_layer_changes(X, "0", path="/etc", depth=1, after="x", limit=5),
    "image_inspect": lambda c: c.image_inspect(X),
    "image_history": lambda c: c.image_history(X),
    "image_pull": lambda c: c.image_pull(X, tag="t", platform="linux/amd64", auth={"username": "u"}).open(),
    "image_import": lambda c: c.image_import(
        b"", repo="r", tag="t", message="m", changes=["CMD x"], platform="linux/amd64"
    ).open(),
    "image_load": lambda c: c.image_load(b"").open(),
    "image_save": lambda c: c.image_save([X, "y"]).open(),
    "image_push": lambda c: c.image_push(X, tag="t", auth={"username": "u"}).open(),
    "image_tag": lambda c: c.image_tag(X, repo="r", tag="t"),
    "image_remove": lambda c: c.image_remove(X, force=True, noprune=True),
    "image_search": lambda c: c.image_search("x", limit=5, filters={"stars": ["3"]}),
    "image_prune": lambda c: c.image_prune(filters={"dangling": ["true"]}),
    "distribution_inspect": lambda c: c.distribution_inspect(X, auth={"username": "u"}),
    "registry_list": lambda c: c.registry_list(),
    "registry_set": lambda c: c.registry_set("r.example", {"Mirrors": ["https://m.example"], "CA": ""}),
    "registry_forget": lambda c: c.registry_forget("r.example"),
    "registry_test": lambda c: c.registry_test("r.example", {"Insecure": True}, auth={"username": "u"}),
    "network_list": lambda c: c.network_list(filters=LABELS),
    "network_inspect": lambda c: c.network_inspect(X, verbose=True, scope="local"),
    "network_create": lambda c: c.network_create({"Name": "n" * 3, "Labels": {"a": "b"}, "Internal": True}),
    "network_remove": lambda c: c.network_remove(X),
    "network_connect": lambda c: c.network_connect(X, {"Container": X, "EndpointConfig": {"Aliases": ["a"]}}),
    "network_disconnect": lambda c: c.network_disconnect(X, {"Container": X, "Force": True}),
    "network_prune": lambda c: c.network_prune(filters=LABELS),
    "volume_list": lambda c: c.volume_list(filters=LABELS),
    "volume_inspect": lambda c: c.volume_inspect(X, size=True),
    "volume_files": lambda c: c.volume_files(X, "/"),
    "volume_archive": lambda c: c.volume_archive(X).open(),
    "volume_archive_stat": lambda c: c.volume_archive_stat(X, "/"),
    "volume_archive_put": lambda c: c.volume_archive_put(X, "/", b"", no_overwrite_dir_non_dir=True),
    "volume_clone": lambda c: c.volume_clone(X, {"Name": "w" * 3, "Labels": {"a": "b"}}),
    "volume_create": lambda c: c.volume_create({"Name": "v" * 3, "Labels": {"a": "b"}}),
    "volume_remove": lambda c: c.volume_remove(X, force=True),
    "volume_prune": lambda c: c.volume_prune(filters={"all": ["true"]}),
}
# Not calls of their own, or not for the confined socket's callers.
OTHERS = {"close", "api_version", "own_headers", "image_verify"}


def test_every_method_of_the_client_is_here() -> None:
    methods = {name for name in vars(EngineClient) if not name.startswith("_")}
    assert methods - OTHERS == set(CALLS)


@pytest.mark.parametrize("name", sorted(CALLS))
async def test_the_confined_socket_knows_the_call(client: EngineClient, name: str) -> None:
    try:
        answer = await CALLS[name](client)
    except Forbidden as error:
        pytest.fail(error.message)
    except EngineError:
        return  # there is no such thing
    if hasattr(answer, "close"):
        answer.close()
