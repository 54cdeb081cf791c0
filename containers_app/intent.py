"""What was asked of a container: its inspect document less what its image and its engine added. Pure.

An intent is itself a create body, so it can be posted as it stands. Fields nobody thought of here are carried
over untouched; only what is known to be an observation or a default is left out.

Spec: Docker API 1.47, ContainerInspect and ContainerCreate; Docker 20.10's spellings are taken as well.
"""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Mapping
from typing import Any

Body = dict[str, Any]

SHORT_ID_CHARS = 12
JOINED = "container:"
NETWORKLESS = ("host", "none")
BRIDGE = ("", "default", "bridge")
SHM_BYTES = 64 << 20  # every engine's own
# Hidden and read-only in every container. Engines differ in a few paths: a list with all of the first, and
# none beside all three, is an engine's own.
_MASKED = frozenset(("/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"))
_MASKED_TOO = frozenset(
    (
        *("/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/latency_stats", "/proc/timer_stats"),
        *("/proc/sched_debug", "/proc/scsi", "/sys/devices/virtual/powercap", "/sys/dev/block"),
        *("/sys/fs/selinux", "/sys/kernel"),
    )
)
_READONLY = frozenset(
    ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/proc/asound")
)
# Empty says something: no masking at all, a check of the init that is off, swapping never.
_EMPTY_COUNTS = ("MaskedPaths", "ReadonlyPaths", "Init", "MemorySwappiness")


def intent_of(inspect: Mapping[str, Any], image: Mapping[str, Any], info: Mapping[str, Any]) -> Body:
    """The create body that would make this container again from this image.

    ``image`` is the inspect document of its image, empty when that is gone: then nothing is a default.
    ``info`` is the engine's (CgroupVersion, DefaultRuntime, Name).
    """
    config: Body = dict(inspect.get("Config") or {})
    host: Body = dict(inspect.get("HostConfig") or {})
    defaults: Body = dict(image.get("Config") or {})
    body = _config(config, defaults)
    body |= _command(config, defaults)
    kept = _host_config(host, info)
    endpoints = endpoints_of(inspect)
    kept["NetworkMode"] = mode = _mode(host, endpoints)
    hostname = str(config.get("Hostname") or "")
    given = hostname and hostname != str(inspect.get("Id", ""))[:SHORT_ID_CHARS]
    shared = mode.startswith(JOINED) or host.get("UTSMode") == "host"
    if given and not shared and not (mode == "host" and hostname == info.get("Name")):
        body["Hostname"] = hostname
    if mode.startswith(JOINED):
        for key in ("Domainname", "MacAddress"):
            body.pop(key, None)
    body["HostConfig"] = kept
    if endpoints:
        body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return copy.deepcopy(body)


def _config(config: Body, image: Body) -> Body:
    """Config without the image's part; the command and the host name are left to others."""
    special = ("Hostname", "Cmd", "Entrypoint", "Env", "Labels", "ExposedPorts", "Volumes", "Healthcheck")
    body: Body = {}
    for key, value in config.items():
        if key in special or value is None or (not value and key != "StopTimeout"):
            continue
        if key in ("User", "WorkingDir", "StopSignal", "Shell", "OnBuild") and value == image.get(key):
            continue
        body[key] = value
    body["Image"] = str(config.get("Image") or "")
    theirs_too = set(image.get("Env") or ())
    env = [entry for entry in config.get("Env") or () if entry not in theirs_too]
    names = {str(entry).partition("=")[0] for entry in config.get("Env") or ()}
    taken_out = (str(entry).partition("=")[0] for entry in image.get("Env") or ())
    if env := [*env, *(name for name in taken_out if name not in names)]:
        body["Env"] = env
    for key in ("Labels", "ExposedPorts", "Volumes"):
        theirs = image.get(key) or {}
        own = {
            name: value
            for name, value in (config.get(key) or {}).items()
            if name not in theirs or (key == "Labels" and theirs[name] != value)
        }
        if own:
            body[key] = own
    own_health = {
        key: value
        for key, value in (config.get("Healthcheck") or {}).items()
        if value and value != (image.get("Healthcheck") or {}).get(key)
    }
    if own_health:
        body["Healthcheck"] = own_health
    return body


def _command(config: Body, image: Body) -> Body:
    """Cmd and Entrypoint as they must be asked for, so that a cleared one is not taken for the image's.

    Spec: Docker merges in this order: an entrypoint that is given makes it forget the image's command; one
    that is [""] is none at all.
    """
    entrypoint, words = list(config.get("Entrypoint") or ()), list(config.get("Cmd") or ())
    theirs, their_words = list(image.get("Entrypoint") or ()), list(image.get("Cmd") or ())
    if entrypoint == theirs and words == their_words:
        return {}
    if entrypoint == theirs and words:
        return {"Cmd": words}
    body: Body = {"Entrypoint": entrypoint or [""]}
    return body | ({"Cmd": words} if words else {})


def _host_config(host: Body, info: Mapping[str, Any]) -> Body:
    """HostConfig without an engine's defaults and observations."""
    kept: Body = {}
    for key, value in host.items():
        empty = not value or value == [0, 0]
        if value is None or (empty and key not in _EMPTY_COUNTS):
            continue
        kept[key] = value
    kept.pop("ContainerIDFile", None)  # a file of the client that made it
    kept.pop("NetworkMode", None)
    if kept.get("CgroupnsMode") == ("host" if str(info.get("CgroupVersion")) == "1" else "private"):
        del kept["CgroupnsMode"]
    own_log = info.get("LoggingDriver")
    if kept.get("Runtime") == info.get("DefaultRuntime"):
        kept.pop("Runtime", None)
    if kept.get("LogConfig") in ({"Type": own_log, "Config": config} for config in ({}, None)):
        del kept["LogConfig"]
    if kept.get("ShmSize") == SHM_BYTES:
        del kept["ShmSize"]
    if kept.get("MemorySwap") in (-1, 2 * int(kept.get("Memory") or 0)) and not _unlimited_swap(kept, info):
        kept.pop("MemorySwap", None)
    if kept.get("MemorySwappiness") == -1:
        del kept["MemorySwappiness"]
    if (kept.get("RestartPolicy") or {}).get("Name") in (None, "", "no"):
        kept.pop("RestartPolicy", None)
    for key, core, more in (
        ("MaskedPaths", _MASKED, _MASKED_TOO),
        ("ReadonlyPaths", _READONLY - {"/proc/asound"}, _READONLY),
    ):
        paths = set(kept.get(key) or ())
        if core <= paths <= core | more:
            del kept[key]
    if kept.get("Links"):
        kept["Links"] = [_link(str(link)) for link in kept["Links"]]
    return kept


def _unlimited_swap(host: Body, info: Mapping[str, Any]) -> bool:
    """Whether -1 was asked for: an engine that can limit swap never writes it by itself."""
    return host.get("MemorySwap") == -1 and bool(host.get("Memory")) and info.get("SwapLimit") is True


def _link(text: str) -> str:
    """ "/db:/web/alias", as inspect shows the link "db:alias" of web."""
    if not text.startswith("/"):
        return text
    target, _colon, alias = text.partition(":")
    return f"{target.removeprefix('/')}:{alias.rpartition('/')[2]}"


def _mode(host: Body, endpoints: Body) -> str:
    """The network it is made on. One it was taken off since is no longer asked for."""
    mode = str(host.get("NetworkMode") or "")
    if mode in NETWORKLESS or mode.startswith(JOINED):
        return mode
    name = "bridge" if mode in BRIDGE else mode
    if name in endpoints or not endpoints:
        return mode or "default"
    return next(iter(endpoints))


def endpoints_of(inspect: Mapping[str, Any]) -> Body:
    """Network name -> what was asked of it there: fixed addresses, aliases, links, options. The one it was
    made on comes first."""
    mode = str((inspect.get("HostConfig") or {}).get("NetworkMode") or "")
    if mode in NETWORKLESS or mode.startswith(JOINED):
        return {}
    short = str(inspect.get("Id", ""))[:SHORT_ID_CHARS]
    networks = (inspect.get("NetworkSettings") or {}).get("Networks") or {}
    found: Body = {}
    for name, settings in networks.items():
        found[str(name)] = _endpoint(settings or {}, short, inspect)
    wanted = "bridge" if mode in BRIDGE else mode
    ids = {name: str((networks[name] or {}).get("NetworkID") or "") for name in found}
    first = [
        name
        for name in found
        if name == wanted or (len(wanted) >= SHORT_ID_CHARS and ids[name].startswith(wanted))
    ]
    return {name: found[name] for name in dict.fromkeys((*first, *found))}


def _endpoint(settings: Body, short: str, inspect: Mapping[str, Any]) -> Body:
    kept: Body = {}
    if ipam := {key: value for key, value in (settings.get("IPAMConfig") or {}).items() if value}:
        kept["IPAMConfig"] = ipam
    # Docker 20.10 adds the short id to what was asked.
    if aliases := [alias for alias in dict.fromkeys(settings.get("Aliases") or ()) if alias != short]:
        kept["Aliases"] = aliases
    for key in ("Links", "DriverOpts", "GwPriority"):
        if settings.get(key):
            kept[key] = settings[key]
    mac = str(settings.get("MacAddress") or "")
    own = str((inspect.get("Config") or {}).get("MacAddress") or "")
    if mac and mac != own and mac != _made_up_mac(str(settings.get("IPAddress") or "")):
        kept["MacAddress"] = mac
    return kept


def _made_up_mac(address: str) -> str:
    """The hardware address engines make of an address: 02:42 and its four bytes."""
    try:
        packed = ipaddress.IPv4Address(address).packed
    except ValueError:
        return ""
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x42, *packed))
