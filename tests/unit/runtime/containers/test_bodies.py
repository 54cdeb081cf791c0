"""How request and image become a container's configuration."""

from typing import Any

import pytest

from runtime.containers.bodies import command, complete_bindings, container_config, environment, host_config

IMAGE: dict[str, Any] = {
    "Cmd": ["image-cmd"],
    "Entrypoint": ["image-entry"],
    "Env": ["PATH=/bin", "A=image"],
    "WorkingDir": "/image",
    "User": "7",
    "Labels": {"a": "image", "b": "image"},
    "Volumes": {"/v": {}},
    "ExposedPorts": {"80/tcp": {}},
    "StopSignal": "SIGINT",
    "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5, "Retries": 2},
    "Shell": ["/bin/bash", "-c"],
}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, ["image-entry", "image-cmd"]),
        ({"Cmd": ["mine"]}, ["image-entry", "mine"]),
        ({"Entrypoint": ["entry"]}, ["entry"]),
        ({"Entrypoint": ["entry"], "Cmd": ["mine"]}, ["entry", "mine"]),
        ({"Entrypoint": []}, ["image-cmd"]),
        ({"Entrypoint": [""], "Cmd": ["mine"]}, ["mine"]),
        ({"Entrypoint": [""]}, []),
        ({"Cmd": []}, ["image-entry", "image-cmd"]),
    ],
)
def test_entrypoint_and_command_combine_as_dockers(request_: dict[str, Any], words: list[str]) -> None:
    assert command(container_config(request_, IMAGE)) == words


def test_the_images_defaults_fill_what_is_not_asked_for() -> None:
    config = container_config(
        {
            "Env": ["A=mine", "B=2"],
            "Labels": {"a": "mine"},
            "Volumes": {"/w": {}},
            "ExposedPorts": {"53/udp": {}},
        },
        IMAGE,
    )
    assert config["Env"] == ["A=mine", "B=2", "PATH=/bin"]
    assert config["Labels"] == {"a": "mine", "b": "image"}
    assert config["Volumes"] == {"/v": {}, "/w": {}}
    assert config["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert (config["WorkingDir"], config["User"], config["StopSignal"]) == ("/image", "7", "SIGINT")
    assert config["Shell"] == ["/bin/bash", "-c"]
    given = container_config({"WorkingDir": "/mine", "User": "8", "StopSignal": "SIGHUP"}, IMAGE)
    assert (given["WorkingDir"], given["User"], given["StopSignal"]) == ("/mine", "8", "SIGHUP")


def test_health_checks_combine_field_by_field() -> None:
    merged = container_config({"Healthcheck": {"Interval": 9}}, IMAGE)["Healthcheck"]
    assert merged == {"Test": ["CMD", "x"], "Interval": 9, "Retries": 2}
    assert container_config({"Healthcheck": {"Test": ["NONE"]}}, IMAGE)["Healthcheck"]["Test"] == ["NONE"]
    assert "Healthcheck" not in container_config({}, {})


def test_an_empty_request_has_every_field() -> None:
    config = container_config({"Image": "x"}, {})
    assert config["Labels"] == {}
    assert config["Env"] == []
    assert config["Volumes"] is None
    assert "ExposedPorts" not in config


def test_a_variable_without_a_value_is_taken_out() -> None:
    assert environment(["A=1", "B=2", "A=3", "B"]) == ["A=3"]


def test_host_config_is_complete_and_defaults_are_dockers() -> None:
    config = host_config({}, runtime="crun", cgroup_version=1)
    assert config["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert config["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert (config["NetworkMode"], config["IpcMode"], config["CgroupnsMode"]) == ("bridge", "private", "host")
    assert (config["ShmSize"], config["Runtime"]) == (64 << 20, "crun")
    assert config["Binds"] is None
    assert "/proc/kcore" in config["MaskedPaths"]
    assert host_config({}, runtime="crun", cgroup_version=2)["CgroupnsMode"] == "private"


def test_what_the_docker_command_always_sends_changes_nothing() -> None:
    sent = {
        "Binds": None,
        "ContainerIDFile": "",
        "LogConfig": {"Type": "", "Config": {}},
        "NetworkMode": "default",
        "PortBindings": {},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "ConsoleSize": [50, 100],
        "CapAdd": [],
        "Dns": [],
        "Links": [],
        "IpcMode": "",
        "ShmSize": 0,
        "MemorySwappiness": -1,
        "BlkioDeviceReadBps": [],
        "Devices": [],
        "Annotations": {},
        "Init": False,
    }
    config = host_config({k: v for k, v in sent.items() if v is not None}, runtime="crun", cgroup_version=1)
    default = host_config({}, runtime="crun", cgroup_version=1)
    changed = {key for key in config if config[key] != default.get(key)}
    assert changed == {"ConsoleSize", "Dns", "Init", "MemorySwappiness"}


def test_privileged_and_unconfined_paths_are_unmasked() -> None:
    for wish in ({"Privileged": True}, {"SecurityOpt": ["systempaths=unconfined"]}):
        config = host_config(wish, runtime="crun", cgroup_version=1)
        assert config["MaskedPaths"] is None
        assert config["ReadonlyPaths"] is None
    own = host_config({"MaskedPaths": ["/x"]}, runtime="crun", cgroup_version=1)
    assert own["MaskedPaths"] == ["/x"]


def test_port_bindings_get_protocol_and_both_fields() -> None:
    assert complete_bindings({"80": [{"HostPort": "8080"}], "53/udp": []}) == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "", "HostPort": ""}],
    }
