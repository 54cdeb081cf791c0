"""Bodies of the Engine API with Docker's exact keys.

The request bodies are also what ``runtime.server.decode`` checks requests against, so their annotations are
the truth about names and types. No methods, no defaults.

Spec: Docker API 1.47, definitions.
"""

from __future__ import annotations

from typing import Annotated, Any, NewType, TypedDict

ContainerId = NewType("ContainerId", str)  # 64 hex digits
ImageId = NewType("ImageId", str)  # "sha256:" and 64 hex digits
Digest = NewType("Digest", str)  # "sha256:" and 64 hex digits

# A list of strings that may be sent as one string: Cmd, Entrypoint.
#: Programs that are taken for shells, the best first.
SHELLS = ("bash", "zsh", "fish", "ksh", "mksh", "sh", "ash", "dash")

WORDS = "words"
Words = Annotated[list[str], WORDS]


class Nothing(TypedDict, total=False):
    """Go's empty struct: the values of ExposedPorts and Volumes."""


# Request bodies: containers


class HealthConfig(TypedDict, total=False):
    Test: list[str]
    Interval: int  # nanoseconds, like all durations here
    Timeout: int
    Retries: int
    StartPeriod: int
    StartInterval: int


class ContainerConfig(TypedDict, total=False):
    Hostname: str
    Domainname: str
    User: str
    AttachStdin: bool
    AttachStdout: bool
    AttachStderr: bool
    ExposedPorts: dict[str, Nothing]
    Tty: bool
    OpenStdin: bool
    StdinOnce: bool
    Env: list[str]
    Cmd: Words
    Healthcheck: HealthConfig
    ArgsEscaped: bool
    Image: str
    Volumes: dict[str, Nothing]
    WorkingDir: str
    Entrypoint: Words
    NetworkDisabled: bool
    MacAddress: str
    OnBuild: list[str]
    Labels: dict[str, str]
    StopSignal: str
    StopTimeout: int
    Shell: Words


class WeightDevice(TypedDict, total=False):
    Path: str
    Weight: int


class ThrottleDevice(TypedDict, total=False):
    Path: str
    Rate: int


class DeviceMapping(TypedDict, total=False):
    PathOnHost: str
    PathInContainer: str
    CgroupPermissions: str


class DeviceRequest(TypedDict, total=False):
    Driver: str
    Count: int
    DeviceIDs: list[str]
    Capabilities: list[list[str]]
    Options: dict[str, str]


class Ulimit(TypedDict, total=False):
    Name: str
    Soft: int
    Hard: int


class Resources(TypedDict, total=False):
    CpuShares: int
    Memory: int
    NanoCpus: int
    CgroupParent: str
    BlkioWeight: int
    BlkioWeightDevice: list[WeightDevice]
    BlkioDeviceReadBps: list[ThrottleDevice]
    BlkioDeviceWriteBps: list[ThrottleDevice]
    BlkioDeviceReadIOps: list[ThrottleDevice]
    BlkioDeviceWriteIOps: list[ThrottleDevice]
    CpuPeriod: int
    CpuQuota: int
    CpuRealtimePeriod: int
    CpuRealtimeRuntime: int
    CpusetCpus: str
    CpusetMems: str
    Devices: list[DeviceMapping]
    DeviceCgroupRules: list[str]
    DeviceRequests: list[DeviceRequest]
    KernelMemory: int
    KernelMemoryTCP: int
    MemoryReservation: int
    MemorySwap: int
    MemorySwappiness: int
    OomKillDisable: bool
    PidsLimit: int
    Ulimits: list[Ulimit]
    CpuCount: int  # Windows, like the three below
    CpuPercent: int
    IOMaximumIOps: int
    IOMaximumBandwidth: int


class RestartPolicy(TypedDict, total=False):
    Name: str
    MaximumRetryCount: int


class LogConfig(TypedDict, total=False):
    Type: str
    Config: dict[str, str]


class PortBinding(TypedDict, total=False):
    HostIp: str
    HostPort: str


class BindOptions(TypedDict, total=False):
    Propagation: str
    NonRecursive: bool
    CreateMountpoint: bool
    ReadOnlyNonRecursive: bool
    ReadOnlyForceRecursive: bool


class DriverConfig(TypedDict, total=False):
    Name: str
    Options: dict[str, str]


class VolumeOptions(TypedDict, total=False):
    NoCopy: bool
    Labels: dict[str, str]
    DriverConfig: DriverConfig
    Subpath: str


class TmpfsOptions(TypedDict, total=False):
    SizeBytes: int
    Mode: int
    Options: list[list[str]]


class Mount(TypedDict, total=False):
    Type: str
    Source: str
    Target: str
    ReadOnly: bool
    Consistency: str
    BindOptions: BindOptions
    VolumeOptions: VolumeOptions
    TmpfsOptions: TmpfsOptions
    ClusterOptions: Nothing


class HostConfig(Resources, total=False):
    Binds: list[str]
    ContainerIDFile: str
    LogConfig: LogConfig
    NetworkMode: str
    PortBindings: dict[str, list[PortBinding]]
    RestartPolicy: RestartPolicy
    AutoRemove: bool
    VolumeDriver: str
    VolumesFrom: list[str]
    Mounts: list[Mount]
    ConsoleSize: list[int]  # [height, width]
    Annotations: dict[str, str]
    CapAdd: Words
    CapDrop: Words
    CgroupnsMode: str
    Dns: list[str]
    DnsOptions: list[str]
    DnsSearch: list[str]
    ExtraHosts: list[str]
    GroupAdd: list[str]
    IpcMode: str
    Cgroup: str
    Links: list[str]
    OomScoreAdj: int
    PidMode: str
    Privileged: bool
    PublishAllPorts: bool
    ReadonlyRootfs: bool
    SecurityOpt: list[str]
    StorageOpt: dict[str, str]
    Tmpfs: dict[str, str]
    UTSMode: str
    UsernsMode: str
    ShmSize: int
    Sysctls: dict[str, str]
    Runtime: str
    Isolation: str
    MaskedPaths: list[str]
    ReadonlyPaths: list[str]
    Init: bool


class EndpointIPAMConfig(TypedDict, total=False):
    IPv4Address: str
    IPv6Address: str
    LinkLocalIPs: list[str]


class EndpointSettings(TypedDict, total=False):
    IPAMConfig: EndpointIPAMConfig
    Links: list[str]
    MacAddress: str
    Aliases: list[str]
    DriverOpts: dict[str, str]
    NetworkID: str
    EndpointID: str
    Gateway: str
    IPAddress: str
    IPPrefixLen: int
    IPv6Gateway: str
    GlobalIPv6Address: str
    GlobalIPv6PrefixLen: int
    DNSNames: list[str]
    GwPriority: int


class NetworkingConfig(TypedDict, total=False):
    EndpointsConfig: dict[str, EndpointSettings]


class ContainerCreateBody(ContainerConfig, total=False):
    HostConfig: HostConfig
    NetworkingConfig: NetworkingConfig


class ContainerUpdateBody(Resources, total=False):
    RestartPolicy: RestartPolicy


class ExecCreateBody(TypedDict, total=False):
    User: str
    Privileged: bool
    Tty: bool
    ConsoleSize: list[int]  # [height, width]
    AttachStdin: bool
    AttachStderr: bool
    AttachStdout: bool
    Detach: bool
    DetachKeys: str
    Env: list[str]
    WorkingDir: str
    Cmd: Words
    DebugShell: bool  # ours: in place of Cmd the engine's own busybox, for images without a shell
    KeepOutput: bool  # ours: with a terminal, what it wrote is there for who takes it up again


class ExecStartBody(TypedDict, total=False):
    Detach: bool
    Tty: bool
    ConsoleSize: list[int]  # [height, width]


# Request bodies: the rest


class IPAMConfig(TypedDict, total=False):
    Subnet: str
    IPRange: str
    Gateway: str
    AuxiliaryAddresses: dict[str, str]
    AuxAddress: dict[str, str]


class IPAM(TypedDict, total=False):
    Driver: str
    Config: list[IPAMConfig]
    Options: dict[str, str]


class ConfigReference(TypedDict, total=False):
    Network: str


class NetworkCreateBody(TypedDict, total=False):
    Name: str
    CheckDuplicate: bool
    Driver: str
    Scope: str
    Internal: bool
    Attachable: bool
    Ingress: bool
    ConfigOnly: bool
    ConfigFrom: ConfigReference
    IPAM: IPAM
    EnableIPv4: bool
    EnableIPv6: bool
    Options: dict[str, str]
    Labels: dict[str, str]


class NetworkConnectBody(TypedDict, total=False):
    Container: str
    EndpointConfig: EndpointSettings


class NetworkDisconnectBody(TypedDict, total=False):
    Container: str
    Force: bool


class VolumeCreateBody(TypedDict, total=False):
    Name: str
    Driver: str
    DriverOpts: dict[str, str]
    Labels: dict[str, str]
    ClusterVolumeSpec: dict[str, Any]


class VolumeCloneBody(TypedDict, total=False):
    Name: str  # of the new volume
    Labels: dict[str, str]


class AuthBody(TypedDict, total=False):
    username: str
    password: str
    auth: str
    email: str
    serveraddress: str
    identitytoken: str
    registrytoken: str


class RegistryBody(TypedDict, total=False):
    """How a registry is spoken to; webdock's own."""

    Mirrors: list[str]  # URLs, tried in order before the registry
    Insecure: bool  # plain HTTP, or a certificate nobody knows
    CA: str  # PEM, trusted for this host besides the system's
    Local: bool  # may live on a loopback or link-local address
    TokenHosts: list[str]  # token services on other hosts that may get its credentials


class RegistryTestBody(TypedDict, total=False):
    """A registry to try; the fields of RegistryBody that are there are tried instead of what is set."""

    Host: str
    Mirrors: list[str]
    Insecure: bool
    CA: str
    Local: bool
    TokenHosts: list[str]


# Answers


class RegistryRow(TypedDict):
    """How a registry is spoken to; webdock's own."""

    Host: str
    Source: str  # config: engine.toml, fixed; set: at run time; default: not configured
    Mirrors: list[str]
    Insecure: bool
    CA: str
    CAFile: str  # engine.toml's, on the engine's machine
    Local: bool
    TokenHosts: list[str]


class ImageLayer(TypedDict):
    """One layer of an image; webdock's own."""

    DiffID: str
    ChainID: str
    Digest: str  # of the blob as it was fetched
    MediaType: str
    Size: int  # bytes of that blob
    Unpacked: int  # bytes of its files
    Images: int  # that have this layer, this one included
    Created: str
    CreatedBy: str
    Comment: str


class ImageLayers(TypedDict):
    Id: str
    Size: int  # bytes of all files, as in the list of images
    SharedSize: int  # of layers that other images have, too
    UniqueSize: int  # of layers that only this image has
    Layers: list[ImageLayer]  # lowest first


class LayerChange(TypedDict):
    """One path that a layer changes; webdock's own."""

    Path: str
    Kind: str  # added, changed, removed; kept: a directory on the way to what is below it
    Type: str  # file, directory, symlink, char, block, fifo, socket; of what was removed, what it was
    Mode: int  # permission bits with setuid, setgid and sticky
    UID: int
    GID: int
    Size: int
    Link: str  # a symlink's target


class LayerChanges(TypedDict):
    Changes: list[LayerChange]
    Next: str  # gives the next page as ``after``; "" on the last


class RegistryTried(TypedDict):
    """What became of one address of a registry."""

    Url: str
    Mirror: bool
    Ok: bool
    Auth: str  # what it asks for: none, basic or bearer; "" when it did not answer
    # "" or what failed: name, address, connection, certificate, plain-http, timeout, protocol, no-registry,
    # credentials, token-service, refused, registry
    Failed: str
    Message: str


class RegistryTest(TypedDict):
    Host: str
    Ok: bool  # of the registry itself and every mirror
    Tried: list[RegistryTried]


class ContainerCreated(TypedDict):
    Id: str
    Warnings: list[str]


class WaitError(TypedDict):
    Message: str


class WaitResult(TypedDict, total=False):
    StatusCode: int
    Error: WaitError


class Change(TypedDict):
    Path: str
    Kind: int  # 0 modified, 1 added, 2 deleted


class PathStat(TypedDict):
    name: str
    size: int
    mode: int  # Go's file mode bits
    mtime: str
    linkTarget: str


class VolumeEntry(TypedDict):
    """One name in a directory of a volume."""

    name: str  # what is not UTF-8 is replaced
    exact: bool  # whether nothing was
    size: int
    mode: int  # Unix st_mode
    mtime: str
    uid: int  # the container's
    gid: int
    linkTarget: str


class VolumeListing(TypedDict):
    Path: str  # with its links followed
    Total: int  # names in the directory; Entries has at most 2000
    Entries: list[VolumeEntry]
