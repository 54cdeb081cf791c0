"""Engine JSON -> rows: upsert, tombstones, revisions; the same news twice changes nothing."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from containers_app import projection
from containers_app.models import Container
from images_app import projection as image_projection
from images_app.models import Image, ImageTag
from webdock.engines.models import Engine, last_revision, next_revision

pytestmark = pytest.mark.django_db

ID, OTHER = "a" * 64, "b" * 64
DOCUMENT: dict[str, Any] = {
    "Id": ID,
    "Name": "/web",
    "Created": "2026-01-02T03:04:05.5Z",
    "Path": "nginx",
    "Args": ["-g", "daemon off;"],
    "Image": "sha256:" + "1" * 64,
    "State": {
        "Status": "running",
        "Running": True,
        "StartedAt": "2026-01-02T03:04:06Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    },
    "Config": {"Image": "nginx:1", "Tty": False, "Labels": {"com.example.team": "shop"}, "Env": ["A=1"]},
    "NetworkSettings": {
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},
        "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
    },
}


@pytest.fixture
def engine() -> Engine:
    return Engine.objects.create(alias="local")


def seen(**changes: Any) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    document.update(changes)
    return document


def test_a_new_container_becomes_a_row(engine: Engine) -> None:
    assert projection.apply_now(engine, {ID: seen()})
    row = Container.objects.get()
    assert (row.name, row.image, row.state, row.command) == (
        "web",
        "nginx:1",
        "running",
        "nginx -g 'daemon off;'",
    )
    assert row.ports == [{"private": 80, "public": 8080, "type": "tcp", "ip": "0.0.0.0"}]
    assert row.networks[0]["ip"] == "172.17.0.2"
    assert row.exit_code is None
    assert row.revision == last_revision("container") == 1


def test_the_same_news_twice_changes_nothing(engine: Engine) -> None:
    projection.apply_now(engine, {ID: seen()})
    assert not projection.apply_now(engine, {ID: seen()})
    assert Container.objects.get().revision == last_revision("container") == 1


def test_a_change_gives_the_next_revision_and_only_then(engine: Engine) -> None:
    projection.apply_now(engine, {ID: seen(), OTHER: seen(Id=OTHER, Name="/db")})
    state = {
        "Status": "exited",
        "ExitCode": 3,
        "StartedAt": "2026-01-02T03:04:06Z",
        "FinishedAt": "2026-01-02T03:05:00Z",
    }
    assert projection.apply_now(engine, {ID: seen(State=state), OTHER: seen(Id=OTHER, Name="/db")})
    row = Container.objects.get(container_id=ID)
    assert (row.state, row.exit_code, row.revision) == ("exited", 3, 3)
    assert Container.objects.get(container_id=OTHER).revision == 2


def test_news_no_list_shows_is_kept_without_a_new_revision(engine: Engine) -> None:
    projection.apply_now(engine, {ID: seen()})
    assert not projection.apply_now(engine, {ID: seen(ExecIDs=["x"])})
    row = Container.objects.get()
    assert row.inspect["ExecIDs"] == ["x"]
    assert row.revision == 1


def test_a_container_that_is_gone_leaves_a_tombstone(engine: Engine) -> None:
    projection.apply_now(engine, {ID: seen()})
    assert projection.apply_now(engine, {ID: None})
    assert not projection.apply_now(engine, {ID: None, OTHER: None})
    row = Container.objects.get()
    assert row.removed_at is not None
    assert row.revision == 2


def test_a_tombstone_comes_back_to_life_when_it_is_seen_again(engine: Engine) -> None:
    projection.apply_now(engine, {ID: seen()})
    projection.apply_now(engine, {ID: None})
    assert projection.apply_now(engine, {ID: seen()})
    row = Container.objects.get()
    assert row.removed_at is None
    assert row.revision == 3


def test_two_engines_may_know_the_same_id(engine: Engine) -> None:
    other = Engine.objects.create(alias="other")
    projection.apply_now(engine, {ID: seen()})
    projection.apply_now(other, {ID: seen()})
    projection.apply_now(other, {ID: None})
    assert Container.objects.filter(removed_at=None).get().engine == engine


def test_next_revision_wants_a_transaction(transactional_db: None) -> None:
    with pytest.raises(RuntimeError, match="inside a transaction"):
        next_revision("container")
    with transaction.atomic():
        assert next_revision("container") == 1
    with transaction.atomic():
        assert next_revision("image") == 1


@pytest.mark.parametrize(
    ("event", "ids"),
    [
        ({"Type": "container", "Action": "die", "Actor": {"ID": ID}}, [ID]),
        (
            {"Type": "network", "Action": "connect", "Actor": {"ID": "n", "Attributes": {"container": ID}}},
            [ID],
        ),
        ({"Type": "network", "Action": "create", "Actor": {"ID": "n"}}, []),
        ({"Type": "image", "Actor": {"ID": "x"}}, []),
        ({"Type": "container"}, []),
        ({}, []),
    ],
)
def test_events_name_containers(event: dict[str, Any], ids: list[str]) -> None:
    assert list(projection.ContainerProjection().ids_in(event)) == ids


def test_status_texts_read_like_docker_ps() -> None:
    now = timezone.now()
    started, finished = now - timedelta(minutes=3), now - timedelta(hours=2)
    row = Container(state="running", started_at=started)
    assert row.status_text == "Up 3 minutes"
    row.health = "unhealthy"
    assert row.status_text == "Up 3 minutes (unhealthy)"
    assert Container(state="paused", started_at=started).status_text == "Up 3 minutes (Paused)"
    assert (
        Container(state="exited", exit_code=137, finished_at=finished).status_text
        == "Exited (137) 2 hours ago"
    )
    assert (
        Container(state="restarting", exit_code=1, finished_at=finished).status_text
        == "Restarting (1) 2 hours ago"
    )
    assert Container(state="created").status_text == "Created"
    assert Container(state="dead").status_text == "Dead"


# Images

IMAGE = {
    "Id": "sha256:" + "1" * 64,
    "RepoTags": ["redis:8", "redis:latest"],
    "Size": 5000,
    "Os": "linux",
    "Architecture": "amd64",
    "Created": "2026-01-02T03:04:05Z",
}


def test_a_new_image_becomes_a_row_with_its_tags(engine: Engine) -> None:
    assert image_projection.apply_now(engine, {IMAGE["Id"]: IMAGE})
    row = Image.objects.get()
    assert (row.tags, row.size_bytes, row.platform, row.name) == (
        ["redis:8", "redis:latest"],
        5000,
        "linux/amd64",
        "redis:8",
    )
    assert not image_projection.apply_now(engine, {IMAGE["Id"]: IMAGE})


def test_a_tag_moves_from_one_image_to_another_and_both_are_news(engine: Engine) -> None:
    image_projection.apply_now(engine, {IMAGE["Id"]: IMAGE})
    newer = {**IMAGE, "Id": "sha256:" + "2" * 64, "RepoTags": ["redis:latest"]}
    assert image_projection.apply_now(engine, {newer["Id"]: newer})
    old, new = Image.objects.order_by("image_id")
    assert (old.tags, new.tags) == (["redis:8"], ["redis:latest"])
    assert old.revision > 1


def test_an_image_that_is_gone_loses_its_tags(engine: Engine) -> None:
    image_projection.apply_now(engine, {IMAGE["Id"]: IMAGE})
    assert image_projection.apply_now(engine, {IMAGE["Id"]: None})
    assert not ImageTag.objects.exists()
    assert Image.objects.get().removed_at is not None
    assert image_projection.apply_now(engine, {IMAGE["Id"]: IMAGE})
    assert Image.objects.get().tags == ["redis:8", "redis:latest"]


def test_what_no_database_can_hold_is_replaced() -> None:
    from webdock.engines.documents import storable, storable_text

    fine = {"a": ["grüße 👋", 1, None]}
    assert storable(fine) is fine
    bad = {"a\0": ["\ud800x", {"b": "\0"}], "n": 1}
    assert storable(bad) == {"a\ufffd": ["?x", {"b": "\ufffd"}], "n": 1}
    assert storable_text("\udcff\0") == "?\ufffd"


def test_a_row_is_drawn_once_and_anew_when_it_changed(engine: Engine) -> None:
    from containers_app.models import listed
    from containers_app.rendering import row_html

    projection.apply_now(engine, {ID: seen()})
    first = row_html(listed().get())
    assert row_html(listed().get()) is first
    projection.apply_now(engine, {ID: seen(Name="/renamed")})
    assert "renamed" in row_html(listed().get())
