"""What is known about one container, as it lies on disk; pure.

Bodies (`config`, `host_config`, `endpoints`, `networks`, `ports`) have Docker's keys and are complete: what
create left out is filled in, so that inspect only copies. Times are nanoseconds since 1970, 0 for never.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runtime.containers.state import State

VERSION = 1  # of the JSON form; a reader refuses newer ones

Body = dict[str, Any]


@dataclass(slots=True)
class MountPoint:
    """One place in the container where something of the host's appears."""

    type: str  # "bind" | "volume" | "tmpfs"
    destination: str  # absolute, clean
    source: str = ""  # host path; "" for tmpfs
    name: str = ""  # of the volume
    driver: str = ""  # of the volume
    mode: str = ""  # as asked: "ro,z"; inspect shows it
    rw: bool = True
    propagation: str = ""
    recursive: bool = True
    subpath: str = ""  # inside the volume
    anonymous: bool = False  # the volume goes with the container (`rm -v`)
    from_mounts: bool = False  # came as HostConfig.Mounts: never shown by list's Binds

    def describe(self) -> Body:
        """Docker's MountPoint."""
        body: Body = {"Type": self.type}
        if self.name:
            body["Name"] = self.name
        body |= {"Source": self.source, "Destination": self.destination}
        if self.driver:
            body["Driver"] = self.driver
        return body | {"Mode": self.mode, "RW": self.rw, "Propagation": self.propagation}

    def to_json(self) -> Body:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Probe:
    """One run of a health check."""

    start_ns: int
    end_ns: int
    exit_code: int
    output: str

    def to_json(self) -> Body:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Health:
    status: str = "starting"  # "starting" | "healthy" | "unhealthy"
    failing_streak: int = 0
    log: list[Probe] = field(default_factory=list)  # the last few, oldest first

    def to_json(self) -> Body:
        return {
            "status": self.status,
            "failing_streak": self.failing_streak,
            "log": [probe.to_json() for probe in self.log],
        }

    @classmethod
    def from_json(cls, body: Body) -> Health:
        return cls(body["status"], body["failing_streak"], [Probe(**probe) for probe in body["log"]])


@dataclass(slots=True)
class Record:
    """One container."""

    id: str
    name: str  # without slash
    created_ns: int
    image_id: str
    chain: list[str]  # layers below it, lowest first
    path: str  # program
    args: list[str]
    config: Body
    host_config: Body
    endpoints: Body  # networks to join: network name -> EndpointSettings as asked
    mounts: list[MountPoint]
    mapped: bool  # container ids are not host ids
    default_hostname: bool = False  # the hostname is made from the id
    # What was seen.
    state: State = State.CREATED
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    health: Health | None = None
    restart_count: int = 0
    stopped_by_user: bool = False  # no restart policy brings it back, until it is started again
    networks: Body = field(default_factory=dict)  # network name -> EndpointSettings as they are
    ports: Body = field(default_factory=dict)
    sandbox_id: str = ""
    netns: str = ""

    @property
    def short_id(self) -> str:
        return self.id[:12]

    @property
    def image(self) -> str:
        """The reference it was created from, as events and lists show it."""
        return str(self.config["Image"])

    @property
    def auto_remove(self) -> bool:
        return bool(self.host_config["AutoRemove"])

    @property
    def tty(self) -> bool:
        return bool(self.config["Tty"])

    def to_json(self) -> Body:
        body: Body = {name: getattr(self, name) for name in self.__slots__}
        body["version"] = VERSION
        body["mounts"] = [mount.to_json() for mount in self.mounts]
        body["health"] = self.health.to_json() if self.health else None
        return body

    @classmethod
    def from_json(cls, body: Body) -> Record:
        """Raises: ValueError, KeyError, TypeError for what this version did not write."""
        fields = dict(body)
        version = fields.pop("version")
        if version != VERSION:
            raise ValueError(f"record version {version}, this engine reads {VERSION}")
        fields["state"] = State(fields["state"])
        fields["mounts"] = [MountPoint(**mount) for mount in fields["mounts"]]
        fields["health"] = Health.from_json(fields["health"]) if fields["health"] else None
        return cls(**fields)
