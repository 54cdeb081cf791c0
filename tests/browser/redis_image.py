"""A Debian made on the spot, and on top of it an image ``redis`` as somebody would ship one: two layers, an
entrypoint script and a default command.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from tests.fakes.image_files import Image, Layer

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


def build(scratch: Path) -> Image:
    """Make the image; takes about a minute.

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
    image = {
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Entrypoint": ["docker-entrypoint.sh"],
            "Cmd": ["redis-server", "--protected-mode", "no", "--save", ""],
            "WorkingDir": "/var/lib/redis",
            "ExposedPorts": {"6379/tcp": {}},
            "Labels": {"org.opencontainers.image.title": "redis"},
        },
        "history": [{"created_by": f"mmdebstrap {SUITE}"}, {"created_by": "apt-get install redis-server"}],
    }
    return Image([Layer(base.read_bytes()), Layer(change.read_bytes())], image)


def add_file(archive: Path, name: str, content: str) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o755
    with tarfile.open(archive, "a") as tar:
        tar.addfile(member, io.BytesIO(content.encode()))
