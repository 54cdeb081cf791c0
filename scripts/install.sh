#!/usr/bin/env bash
# Installs webdock as two systemd services, from this clone into /opt/webdock. Run again, it upgrades in place: data,
# configuration and running containers stay.
#   install.sh                  install or upgrade, start, print the address and a one-time link
#   install.sh --listen ADDR    the same, with the pages on another address (kept in /etc/webdock/environment)
#   install.sh --uninstall      stop and remove the program; images, volumes and accounts stay in /var/lib/webdock
#   install.sh --purge          remove everything: containers, images, volumes, accounts, configuration
# Debian 12 is tested. Ubuntu 24.04 and Fedora are written from their package lists and not tested.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

PROGRAM=/opt/webdock
CONFIG=/etc/webdock
STATE=/var/lib/webdock
COMMAND=/usr/local/bin/webdock
UNITS=(webdock-engine.service webdock-web.service)

what=install listen=
while [ $# -gt 0 ]; do
    case $1 in
    --uninstall) what=uninstall ;;
    --purge) what=purge ;;
    --listen)
        listen=${2:?--listen needs an address, such as 127.0.0.1:8000}
        shift
        ;;
    --help | -h)
        sed -n '2,8s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) die "install.sh: unknown option $1; there are --listen, --uninstall, --purge and --help" ;;
    esac
    shift
done

need_root install.sh
[ -d /run/systemd/system ] || die "systemd does not run here; start webdock with scripts/up, which supervises by itself"

stop_services() {
    local unit
    for unit in webdock-web.service webdock-engine.service; do
        systemctl disable --now "$unit" 2>/dev/null || true
    done
}

remove_program() {
    local unit
    for unit in "${UNITS[@]}"; do rm -f "/etc/systemd/system/$unit"; done
    systemctl daemon-reload
    rm -rf "$PROGRAM" "$PROGRAM.new"
    rm -f "$COMMAND"
}

install_program() {
    # What runs is a copy that nobody but root can change. The virtual environment stays where it was made.
    step "copying the program to $PROGRAM"
    rm -rf "$PROGRAM.new"
    mkdir -p "$PROGRAM.new" "$PROGRAM"
    local part
    for part in webdock containers_app images_app runtime templates static locale scripts deploy docs \
        manage.py pyproject.toml requirements.txt constraints.txt README.md CHANGELOG.md; do
        cp -R --no-preserve=ownership "$ROOT/$part" "$PROGRAM.new/$part"
    done
    find "$PROGRAM.new" -name __pycache__ -prune -exec rm -rf {} +
    chmod -R u=rwX,go=rX "$PROGRAM.new"
    for part in "$PROGRAM.new"/*; do
        rm -rf "${PROGRAM:?}/$(basename "$part")"
        mv "$part" "$PROGRAM/"
    done
    rm -rf "$PROGRAM.new"
    # The program's own scripts make its environment, as they do in a clone.
    env -i PATH="$PATH" HOME=/root bash -c '
        . /opt/webdock/scripts/lib.sh
        ensure_venv
        ensure_requirements requirements.txt
        ensure_command'
    cat >"$COMMAND.new" <<'LAUNCHER'
#!/bin/sh
# The command with the services' settings, for whoever may read them.
if [ -r /etc/webdock/environment ]; then
    set -a
    . /etc/webdock/environment
    set +a
fi
exec /opt/webdock/.venv/bin/webdock "$@"
LAUNCHER
    chmod 0755 "$COMMAND.new"
    mv "$COMMAND.new" "$COMMAND"
}

install_configuration() {
    systemd-sysusers "$PROGRAM/deploy/webdock.sysusers"
    mkdir -p "$CONFIG"
    if [ ! -e "$CONFIG/environment" ]; then
        cat >"$CONFIG/environment" <<'SETTINGS'
# Settings of both services; docs/operations.md lists them. After a change: systemctl restart webdock-web webdock-engine
WEBDOCK_LISTEN=127.0.0.1:8000
SETTINGS
        chown root:webdock "$CONFIG/environment"
        chmod 0640 "$CONFIG/environment"
    fi
    if [ -n "$listen" ]; then
        sed -i '/^WEBDOCK_LISTEN=/d' "$CONFIG/environment"
        printf 'WEBDOCK_LISTEN=%s\n' "$listen" >>"$CONFIG/environment"
    fi
    local unit
    for unit in "${UNITS[@]}"; do install -m 0644 "$PROGRAM/deploy/$unit" "/etc/systemd/system/$unit"; done
    systemctl daemon-reload
}

case $what in
install)
    if [ -e "$STATE/up.lock" ] && ! flock -n "$STATE/up.lock" true; then
        die "a \`webdock up\` uses $STATE; stop it first: sudo scripts/down"
    fi
    "$ROOT/scripts/install-packages" runtime
    install_program
    install_configuration
    step "starting ${UNITS[*]}"
    systemctl enable --quiet "${UNITS[@]}"
    systemctl restart "${UNITS[@]}"
    "$COMMAND" ready
    ;;
uninstall)
    stop_services
    remove_program
    say "webdock is removed; $STATE and $CONFIG are kept. Containers that run go on until they end or the machine restarts."
    ;;
purge)
    stop_services
    if [ -x "$COMMAND" ]; then
        "$COMMAND" down --purge --yes
    elif [ -d "$STATE" ]; then
        die "the program is gone already, and $STATE may hold running containers; install again, then purge"
    fi
    remove_program
    rm -rf "$CONFIG"
    userdel webdock 2>/dev/null || true
    groupdel webdock-admin 2>/dev/null || true
    say "nothing of webdock is left"
    ;;
esac
