# What the scripts share: words, system packages, the virtual environment. Sourced, never run.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
VENV="$ROOT/.venv"

say() { printf '%s\n' "$*" >&2; }
step() { printf '→ %s\n' "$*" >&2; }
die() {
    printf 'webdock: %s\n' "$*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" -eq 0 ] || die "$1 needs root: it prepares namespaces, mounts and networks. Try: sudo scripts/$1"
}

# Two set-ups in one clone would fight over .venv; the lock is on the clone's directory itself, so no file stays.
setup_lock() {
    exec 9<"$ROOT"
    flock 9
}
setup_unlock() { exec 9<&-; }

# A Python >= 3.11 that other users may run too: one under /root would lock the web user out.
find_python() {
    local candidate
    for candidate in "${WEBDOCK_PYTHON:-}" /usr/bin/python3 /usr/bin/python3.{14,13,12,11} "$(command -v python3 || true)"; do
        [ -n "$candidate" ] && [ -x "$candidate" ] || continue
        "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        printf '%s\n' "$candidate"
        return 0
    done
    return 1
}

ensure_venv() {
    if [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -c \
        'import os, sys; sys.exit(sys.version_info < (3, 11) or os.path.realpath(sys.executable).startswith("/root/"))' 2>/dev/null; then
        return 0
    fi
    local python
    python=$(find_python) || die "no Python 3.11 or newer with venv was found; install python3 and python3-venv"
    step "making .venv with $python"
    rm -rf "$VENV"
    "$python" -m venv "$VENV"
}

# ensure_requirements FILE: pip runs only when the file, the constraints or the Python changed.
ensure_requirements() {
    local file=$1 stamp now attempt
    stamp="$VENV/.installed-$(basename "$file" .txt)"
    now=$(cd "$ROOT" && { cat requirements.txt constraints.txt "$file"; "$VENV/bin/python" -VV; } | sha256sum)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ]; then
        return 0
    fi
    step "installing $file"
    for attempt in 1 2 3; do
        if (cd "$ROOT" && "$VENV/bin/python" -m pip install -qq --disable-pip-version-check \
            --root-user-action=ignore -r "$file"); then
            printf '%s\n' "$now" >"$stamp"
            return 0
        fi
        say "pip failed (attempt $attempt of 3)"
        sleep $((attempt * 3))
    done
    die "pip could not install $file; its own words stand above"
}

# The clone on the venv's path, and .venv/bin/webdock: what an editable install does, without a build.
ensure_command() {
    local site launcher="$VENV/bin/webdock"
    site=$("$VENV/bin/python" -Ic 'import sysconfig; print(sysconfig.get_path("purelib"))')
    if [ ! -f "$site/webdock.pth" ] || [ "$(cat "$site/webdock.pth")" != "$ROOT" ]; then
        printf '%s\n' "$ROOT" >"$site/webdock.pth"
    fi
    [ -x "$launcher" ] && return 0
    cat >"$launcher.new" <<LAUNCHER
#!$VENV/bin/python -I
import sys

from webdock.__main__ import main

sys.exit(main())
LAUNCHER
    chmod 0755 "$launcher.new"
    mv "$launcher.new" "$launcher"
}
