"""A Debian made on the spot, and on top of it an image ``redis`` as somebody would ship one: two layers, an
entrypoint
script and a default command, in an OCI layout that skopeo pushes to a registry."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path

SUITE = "bookworm"
BUILD_TIMEOUT_S = 600
ENTRYPOINT = """\
#!/bin/sh
# The data directory belongs to whoever runs; then the command takes this process over.
set -e
echo "entrypoint: starting $*"
exec "$@"
"""
LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")


def build(scratch: Path) -> Path:
    """Make the image; returns an OCI layout holding ``redis``. Takes about a minute.

    mmdebstrap's hooks cut the file system twice: the bare Debian, then what installing redis-server changed.
    """
    base, change, mark = scratch / "debian.tar", scratch / "redis.tar", scratch / "mark"
    kept_out = " ".join(
        f"--exclude=./{path}/*" for path in ("proc", "sys", "dev", "var/cache/apt", "var/lib/apt/lists")
    )
    into_chroot = (
        "-o Dir::Bin::dpkg=env -o DPkg::Options::=--unset=TMPDIR -o DPkg::Options::=dpkg "
        '-o DPkg::Chroot-Directory="$1"'
    )
    hooks = (
        f'tar -C "$1" --one-file-system {kept_out} -cf {base} . && touch {mark}',
        f"APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq install -y --no-install-recommends {into_chroot} "
        "redis-server >/dev/null",
        r'cd "$1" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./var/cache '
        r"-o -path ./var/lib/apt/lists -o -path ./tmp -o -path ./run \) -prune "
        f"-o -newercm {mark} -print0 | tar --null --no-recursion -T - -cf {change}",
    )
    done = subprocess.run(
        [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--mode=root",
            *(f"--dpkgopt=path-exclude=/{path}/*" for path in LEFT_OUT),
            *(f"--customize-hook={hook}" for hook in hooks),
            SUITE,
            "/dev/null",
        ],
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
    )
    assert done.returncode == 0, f"mmdebstrap failed:\n{done.stderr[-4000:]}"
    add_file(change, "usr/local/bin/docker-entrypoint.sh", ENTRYPOINT)
    layout = scratch / "layout"
    write_layout(
        layout,
        [base, change],
        {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Entrypoint": ["docker-entrypoint.sh"],
            "Cmd": ["redis-server", "--protected-mode", "no", "--save", ""],
            "WorkingDir": "/var/lib/redis",
            "ExposedPorts": {"6379/tcp": {}},
            "Labels": {"org.opencontainers.image.title": "redis"},
        },
    )
    return layout


def add_file(archive: Path, name: str, content: str) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o755
    with tarfile.open(archive, "a") as tar:
        tar.addfile(member, io.BytesIO(content.encode()))


def write_layout(layout: Path, layers: list[Path], config: dict[str, object]) -> None:
    """Write an OCI image layout with one image tagged ``redis``.

    Spec: OCI image 1.1, Image Layout, Image Manifest, Image Configuration.
    """
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    diff_ids, descriptors = [], []
    for path in layers:
        raw = path.read_bytes()
        diff_ids.append(f"sha256:{hashlib.sha256(raw).hexdigest()}")
        packed = gzip.compress(raw, compresslevel=1, mtime=0)
        descriptors.append(blob(packed, "application/vnd.oci.image.layer.v1.tar+gzip"))
    image = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": f"mmdebstrap {SUITE}"}, {"created_by": "apt-get install redis-server"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(image).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": descriptors,
    }
    entry = blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "redis"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def push(layout: Path, reference: str) -> None:
    """Copy the image to a registry that speaks plain HTTP."""
    done = subprocess.run(
        ["skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:redis", f"docker://{reference}"],
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
    )
    assert done.returncode == 0, f"skopeo failed:\n{done.stderr}"
