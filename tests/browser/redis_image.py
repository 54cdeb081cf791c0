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
#: What somebody would have below redis: a shell and its tools. usr-is-merged keeps Perl out.
BASE = (
    *("base-files", "base-passwd", "bash", "coreutils", "dash", "findutils", "grep", "libc-bin", "procps"),
    *("sed", "usr-is-merged", "util-linux"),
)
#: The packages of the upper layer.
ABOVE = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1")
#: Run in the extracted tree: the archives are still there, and say which files are the upper layer's.
CUT = """\
#!/bin/sh
set -e
cd "$1"
for deb in {above}; do dpkg-deb --fsys-tarfile var/cache/apt/archives/"$deb"_*.deb | tar -t; done |
    grep -v '/$' | grep -Ev '^./usr/share/(doc|man)' | sort -u >{names}
mkdir -p var/lib/redis
cp usr/share/base-passwd/passwd.master etc/passwd
cp usr/share/base-passwd/group.master etc/group
tar --no-recursion -T {names} -cf {change} ./var/lib/redis
tar --one-file-system {kept_out} --exclude-from={names} -cf {base} .
"""
KEPT_OUT = ("proc", "sys", "dev", "tmp", "var/cache", "var/lib/apt", "usr/share/doc", "usr/share/man")


def build(scratch: Path) -> Image:
    """Make the image of Debian's own packages; takes seconds. They are unpacked and not configured, as a
    container needs nothing of what that would do.
    """
    base, change = scratch / "debian.tar", scratch / "redis.tar"
    cut = scratch / "cut"
    cut.write_text(
        CUT.format(
            above=" ".join(ABOVE),
            names=scratch / "names",
            kept_out=" ".join(f"'--exclude=./{path}/*'" for path in KEPT_OUT),
            change=change,
            base=base,
        )
    )
    cut.chmod(0o755)
    done = subprocess.run(
        [
            "mmdebstrap",
            *("--quiet", "--variant=extract", "--mode=root"),
            f"--include={','.join((*BASE, *ABOVE))}",
            f"--extract-hook={cut}",
            *(SUITE, "/dev/null"),
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
