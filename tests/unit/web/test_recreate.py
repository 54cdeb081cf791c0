"""The recreate transaction against an engine that fails at each step, and rows that outlive their process."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from containers_app.intent import intent_of
from containers_app.models import Recreation
from containers_app.recreate import STEPS, Recreate, health_wait_s
from containers_app.recreations import begin, resume_once
from containers_app.succession import creation, kept_name, with_volumes
from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, EngineUnreachable, Internal, NotFound
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import eventually, local_engine, make_container, recreated
from webdock.engines.audit import Actor
from webdock.engines.models import AuditEntry
from webdock.people.belongings import claim

NOBODY = Actor(None, "ada", "10.0.0.9")


@dataclass
class Notes:
    """A record in memory, with everything that was written down in order."""

    old_id: str
    name: str
    old_name: str
    kept_name: str
    body: dict[str, Any]
    networks: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    start: bool = True
    new_id: str = ""
    was: str = ""
    step: str = "asked"
    failure: str = ""
    warning: str = ""
    outcome: str = ""
    kept: list[str] = field(default_factory=list)

    async def keep(self, *fields: str) -> None:
        self.kept.append(f"{','.join(fields)}: {self.step}")


class Failing:
    """The engine's client, with one call that fails, or is answered by nobody after it was done."""

    def __init__(
        self, client: EngineClient, method: str, error: Exception, *, times: int = 1, done: bool = False
    ):
        self._client, self._method, self._error = client, method, error
        self._times, self._done = times, done

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if name != self._method:
            return real

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self._times <= 0:
                return await real(*args, **kwargs)
            self._times -= 1
            if self._done:
                await real(*args, **kwargs)
            raise self._error

        return call


Prepare = Callable[..., Awaitable[Notes]]


@pytest.fixture
async def prepare(fake: FakeEngine, api: EngineClient) -> Prepare:
    async def notes(*command: str, state: str = "running", **changed: Any) -> Notes:
        id = await make_container(
            api,
            "web",
            *command,
            start=state != "created",
            Labels={"a": "b"},
            HostConfig={"Binds": ["vol:/data"]},
        )
        if state == "paused":
            await api.container_pause(id)
        if state == "exited":
            await api.container_stop(id, timeout_s=0)
        document = await api.container_inspect(id)
        image = await api.image_inspect(document["Image"])
        body, networks = creation(with_volumes(intent_of(document, image, await api.info()), document))
        return Notes(
            id,
            "web",
            "web",
            kept_name("web", id),
            {**body, **changed},
            networks,
            start=state not in ("created", "exited"),
        )

    return notes


async def names(api: EngineClient) -> dict[str, str]:
    return {one["Names"][0]: one["State"] for one in await api.container_list(all=True)}


async def test_the_new_one_takes_the_place_of_the_old(prepare: Prepare, api: EngineClient) -> None:
    notes = await prepare(Env=["A=1"])
    await Recreate(api, notes, up_s=0.1).run()
    assert (notes.outcome, notes.failure, notes.warning) == ("done", "", "")
    assert await names(api) == {"/web": "running"}
    new = await api.container_inspect("web")
    assert new["Id"] == notes.new_id != notes.old_id
    assert "A=1" in new["Config"]["Env"]
    assert new["HostConfig"]["Binds"] == ["vol:/data"]
    assert [step for step in STEPS if any(line.endswith(step) for line in notes.kept)] == list(STEPS)


@pytest.mark.parametrize("state", ["created", "exited"])
async def test_one_that_did_not_run_is_not_started(prepare: Prepare, api: EngineClient, state: str) -> None:
    notes = await prepare(state=state)
    await Recreate(api, notes, up_s=0.1).run()
    assert notes.outcome == "done"
    assert await names(api) == {"/web": "created"}


@pytest.mark.parametrize("state", ["running", "paused", "exited", "created"])
@pytest.mark.parametrize(
    "method", ["container_rename", "container_create", "network_connect", "container_stop", "container_start"]
)
async def test_a_step_that_fails_leaves_everything_as_before(
    prepare: Prepare, api: EngineClient, method: str, state: str
) -> None:
    notes = await prepare(state=state)
    await api.network_create({"Name": "side"})
    notes.networks = [("side", {"Aliases": ["x"]})]
    failing: Any = Failing(api, method, Internal("something broke"))
    await Recreate(failing, notes, up_s=0.1).run()
    if method in ("container_stop", "container_start") and state in ("exited", "created"):
        assert notes.outcome == "done"
        return
    assert (notes.outcome, notes.failure) == ("undone", "Something broke.")
    assert await names(api) == {"/web": state}
    assert (await api.container_inspect("web"))["Id"] == notes.old_id


async def test_a_program_that_ends_at_once_brings_the_old_one_back(
    prepare: Prepare, api: EngineClient
) -> None:
    notes = await prepare(Cmd=["sh", "-c", "echo no such table --password=topsecret; exit 3"])
    await Recreate(api, notes, up_s=5).run()
    assert notes.outcome == "undone"
    assert "no such table" in notes.failure  # its log goes with it
    assert "topsecret" not in notes.failure
    assert "exit code 3" in notes.failure
    assert await names(api) == {"/web": "running"}


async def test_a_program_with_little_to_do_is_done(prepare: Prepare, api: EngineClient) -> None:
    notes = await prepare(Cmd=["true"])
    await Recreate(api, notes, up_s=5).run()
    assert notes.outcome == "done"


@pytest.mark.parametrize(("health", "outcome"), [("healthy", "done"), ("unhealthy", "undone")])
async def test_a_health_check_decides(prepare: Prepare, api: EngineClient, health: str, outcome: str) -> None:
    notes = await prepare()

    class Sick(Failing):
        def __getattr__(self, name: str) -> Any:
            real = getattr(api, name)
            if name != "container_inspect":
                return real

            async def inspect(ref: str) -> Any:
                body = await real(ref)
                if ref == notes.new_id:
                    body["State"]["Health"] = {"Status": health, "Log": [{"Output": "no answer on 80"}]}
                return body

            return inspect

    sick: Any = Sick(api, "", Internal())
    await Recreate(sick, notes, up_s=60).run()
    assert notes.outcome == outcome
    assert ("no answer on 80" in notes.failure) is (outcome == "undone")
    assert await names(api) == {"/web": "running"}


@pytest.mark.parametrize(
    "method",
    ["container_rename", "container_create", "container_stop", "container_start", "container_remove"],
)
async def test_an_answer_that_never_came_is_no_second_try(
    prepare: Prepare, api: EngineClient, method: str
) -> None:
    notes = await prepare()
    lost: Any = Failing(api, method, EngineUnreachable("gone"), done=True)
    await Recreate(lost, notes, up_s=0.1).run()
    assert (notes.outcome, notes.failure) == ("done", "")
    assert await names(api) == {"/web": "running"}


async def test_a_process_that_dies_between_any_two_steps_is_gone_on_with(
    prepare: Prepare, api: EngineClient
) -> None:
    class Died(BaseException):
        pass

    notes = await prepare()
    real = notes.keep
    for _ in range(len(STEPS) * 3):
        written: list[str] = []

        async def keep(*fields: str, written: list[str] = written) -> None:
            if written:
                raise Died  # it came to one more note than the process before
            written.append("")
            await real(*fields)

        notes.keep = keep  # type: ignore[method-assign]
        try:
            await Recreate(api, notes, up_s=0.05).run()
        except Died:
            # What was not written down is not known to the next process.
            if notes.outcome and "outcome" not in notes.kept[-1]:
                notes.outcome = ""
            continue
        break
    assert notes.outcome == "done"
    assert await names(api) == {"/web": "running"}


async def test_an_engine_that_restarts_at_every_step_is_waited_for(
    prepare: Prepare, api: EngineClient, fake: FakeEngine
) -> None:
    notes = await prepare()
    real, restarts = notes.keep, []

    async def keep(*fields: str) -> None:
        await real(*fields)
        await asyncio.gather(*restarts)
        await fake.go_away()
        restarts.append(asyncio.create_task(_come_back_soon(fake)))

    notes.keep = keep  # type: ignore[method-assign]
    await Recreate(api, notes, up_s=0.1).run()
    await asyncio.gather(*restarts)
    assert (notes.outcome, notes.failure) == ("done", "")
    assert len(restarts) > len(STEPS)
    assert await names(api) == {"/web": "running"}


async def _come_back_soon(fake: FakeEngine) -> None:
    await asyncio.sleep(0.1)  # long enough for a call to find nobody
    await fake.come_back()


async def test_an_old_one_that_cannot_be_removed_is_named(prepare: Prepare, api: EngineClient) -> None:
    notes = await prepare()
    failing: Any = Failing(api, "container_remove", Internal("disk on fire"))
    await Recreate(failing, notes, up_s=0.1).run()
    assert notes.outcome == "done"
    assert notes.kept_name in notes.warning
    assert set(await names(api)) == {"/web", f"/{notes.kept_name}"}


async def test_without_the_old_one_the_new_one_is_not_taken_away(prepare: Prepare, api: EngineClient) -> None:
    notes = await prepare(Cmd=["sh", "-c", "exit 3"])

    class Taken(Failing):
        def __getattr__(self, name: str) -> Any:
            if name == "container_start":

                async def start(ref: str) -> None:
                    await api.container_remove(notes.old_id, force=True)
                    raise Internal("no")

                return start
            return getattr(api, name)

    taken: Any = Taken(api, "", Internal())
    await Recreate(taken, notes, up_s=0.1).run()
    assert notes.outcome == "stuck"
    assert "removed meanwhile" in notes.warning
    assert await names(api) == {"/web": "created"}


async def test_a_name_that_is_taken_meanwhile_undoes(prepare: Prepare, api: EngineClient) -> None:
    notes = await prepare()
    failing: Any = Failing(api, "container_create", Conflict("the name is taken"))
    await Recreate(failing, notes, up_s=0.1).run()
    assert notes.outcome == "undone"
    assert await names(api) == {"/web": "running"}


async def test_the_wait_for_health_has_a_bound() -> None:
    second = 10**9
    check = {"StartPeriod": 5 * second, "Interval": second, "Timeout": 2 * second, "Retries": 2}
    assert health_wait_s({"Config": {"Healthcheck": check}}) == 21
    assert health_wait_s({"Config": {"Healthcheck": {"StartPeriod": 10**15}}}) == 300


async def row_of(notes: Notes, **more: Any) -> Recreation:
    fields: dict[str, Any] = {
        name: getattr(notes, name)
        for name in ("old_id", "name", "old_name", "kept_name", "body", "networks", "start")
    }
    return await begin(NOBODY, await local_engine(), **{"id": uuid.uuid4(), **fields, **more})


async def test_a_row_is_worked_on_audited_and_emptied(
    transactional_db: None, prepare: Prepare, api: EngineClient
) -> None:
    row = await recreated((await row_of(await prepare(), changes=[{"label": "Environment"}])).pk)
    assert (row.outcome, row.body) == ("done", {})
    entry = await eventually(
        lambda: AuditEntry.objects.filter(action="container.recreate", result="ok").afirst(), 30
    )
    assert (entry.username, entry.object_id, entry.detail) == ("ada", row.old_id, "Environment")


async def test_a_row_asked_for_twice_is_one(
    transactional_db: None, prepare: Prepare, api: EngineClient
) -> None:
    notes, id = await prepare(), uuid.uuid4()
    first, second = await asyncio.gather(row_of(notes, id=id), row_of(notes, id=id))
    assert first.pk == second.pk
    with pytest.raises(Conflict):
        await row_of(notes)
    await recreated(id)
    assert await names(api) == {"/web": "running"}
    assert await Recreation.objects.acount() == 1


async def test_rows_of_a_process_that_ended_are_taken_over(
    transactional_db: None, prepare: Prepare, api: EngineClient, settings: Any
) -> None:
    settings.REDIS_URL = "redis://others/0"  # with others beside this one, who is heard of is left to them
    notes = await prepare()
    fields: dict[str, Any] = {
        name: getattr(notes, name) for name in ("old_id", "name", "old_name", "kept_name", "body", "networks")
    }
    await api.container_rename(notes.old_id, notes.kept_name)
    row = await Recreation.objects.acreate(
        engine=await local_engine(), step="renamed", was="running", **fields
    )
    held = await Recreation.objects.acreate(
        engine=await local_engine(), step="asked", holder=uuid.uuid4(), held_at="2999-01-01T00:00:00Z",
        **{**fields, "old_id": "f" * 64},
    )  # fmt: skip
    (job,) = await resume_once()
    assert job.task is not None
    await job.task
    assert (await recreated(row.pk)).outcome == "done"
    assert (await Recreation.objects.aget(pk=held.pk)).outcome == ""
    settings.REDIS_URL = ""  # alone, nobody else can be at work
    (job,) = await resume_once()
    assert job.task is not None
    await job.task
    assert (await recreated(held.pk)).outcome == "stuck"  # its container never was
    assert await names(api) == {"/web": "running"}


async def test_a_row_of_a_container_that_is_gone_is_undone(
    transactional_db: None, prepare: Prepare, api: EngineClient
) -> None:
    notes = await prepare()
    await api.container_remove(notes.old_id, force=True)
    row = await recreated((await row_of(notes)).pk)
    assert row.outcome == "stuck"
    with pytest.raises(NotFound):
        await api.container_inspect("web")


async def test_rows_are_taken_over_with_the_rights_of_who_asked(
    transactional_db: None, prepare: Prepare, api: EngineClient, viewer: Any
) -> None:
    notes = await prepare()
    fields: dict[str, Any] = {
        name: getattr(notes, name) for name in ("old_id", "name", "old_name", "kept_name", "body", "networks")
    }
    await sync_to_async(claim)("container", None, None, notes.old_id)  # somebody else's by now
    row = await Recreation.objects.acreate(
        engine=await local_engine(), user=viewer, username="viewer", was="running", **fields
    )
    (job,) = await resume_once()
    assert job.task is not None
    await job.task
    row = await recreated(row.pk)
    assert row.outcome != "done"
    assert (await api.container_inspect("web"))["Id"] == notes.old_id


async def test_a_row_of_an_account_that_is_gone_goes_back(
    transactional_db: None, prepare: Prepare, api: EngineClient
) -> None:
    notes = await prepare()
    fields: dict[str, Any] = {
        name: getattr(notes, name) for name in ("old_id", "name", "old_name", "kept_name", "body", "networks")
    }
    await api.container_rename(notes.old_id, notes.kept_name)
    row = await Recreation.objects.acreate(
        engine=await local_engine(), username="gone", step="renamed", was="running", **fields
    )
    (job,) = await resume_once()
    assert job.task is not None
    await job.task
    assert (await recreated(row.pk)).outcome == "undone"
    assert await names(api) == {"/web": "running"}
