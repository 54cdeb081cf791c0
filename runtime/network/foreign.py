"""Other people's packet filters: letting our bridges through them, and taking that back.

† Touches the kernel's packet filter. A packet must pass every table: the drop of another one (Docker's
FORWARD policy, ufw, firewalld) cannot be undone by an accept in ours. So each foreign chain on the forward
hook that could drop gets a few rules at its head that hand packets of our bridges to our table's judgement;
where Docker is, they go into DOCKER-USER, and Docker's bridges stay protected from ours. The rules are plain
enough for `iptables` to list, carry a comment with the instance's name, and are found by it.

Spec: nft(8); Docker, packet filtering, DOCKER-USER.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.network import nft
from runtime.network.nft import NF_INET_FORWARD, Chain, NftSocket, Rule

COMMAND_TIMEOUT_S = 20

_FAMILY = "webdock"  # how the names of all instances begin
_USER_CHAIN = "DOCKER-USER"
_OTHERS_BRIDGES = ("docker0", "br-*")  # where Docker's own isolation decides
_LEGACY_TABLES = {"iptables-legacy": "ip_tables_names", "ip6tables-legacy": "ip6_tables_names"}


@dataclass(frozen=True, slots=True)
class Pass:
    """One rule: packets from and to interfaces (a trailing * stands for any rest)."""

    incoming: str
    outgoing: str
    verdict: str  # "accept" or "return"

    def nft(self, comment: str) -> str:
        parts = []
        if self.incoming:
            parts.append(f'iifname "{self.incoming}"')
        if self.outgoing:
            parts.append(f'oifname "{self.outgoing}"')
        return " ".join([*parts, self.verdict, f'comment "{comment}"'])

    def iptables(self, comment: str) -> list[str]:
        parts: list[str] = []
        if self.incoming:
            parts += ["-i", self.incoming.replace("*", "+")]
        if self.outgoing:
            parts += ["-o", self.outgoing.replace("*", "+")]
        return [*parts, "-m", "comment", "--comment", comment, "-j", self.verdict.upper()]


def passes(short: str, beside_docker: bool) -> list[Pass]:
    """The rules for the bridges of one instance, in order."""
    ours = (f"{short}0", f"{short}-*")
    found: list[Pass] = []
    if beside_docker:
        found = [Pass(name, other, "return") for name in ours for other in _OTHERS_BRIDGES]
    found += [Pass("", name, "accept") for name in ours]
    found += [Pass(name, "", "accept") for name in ours]
    return found


class ForeignFilters:
    """The rules of one instance in other tables."""

    def __init__(self, instance: str, short: str, own_tables: Sequence[str]) -> None:
        self._comment = instance
        self._short = short
        self._own = frozenset(own_tables)
        self._nft = NftSocket()

    def close(self) -> None:
        self._nft.close()

    @property
    def filter_port(self) -> int:
        return self._nft.port

    def ensure(self) -> int:
        """Put our rules at the head of every chain that needs them; how many chains were changed.

        Raises: nft.NftError.
        """
        changed = 0
        gates, passed = self._gates()
        for chain in gates:
            wanted = passes(self._short, chain.name == _USER_CHAIN)
            rules = self._nft.rules(chain.family, chain.table, chain.name)
            if not rules and not chain.drops and chain.hook is not None:
                continue  # an empty chain that accepts stops nobody
            if self._in_place(rules, len(wanted)):
                continue
            lines = self._deletions(chain, rules)
            where = f"{chain.family} {chain.table} {chain.name}"
            lines += [f"insert rule {where} {entry.nft(self._comment)}" for entry in reversed(wanted)]
            nft.load("\n".join(lines) + "\n")
            changed += 1
        for chain in passed:
            lines = self._deletions(chain, self._nft.rules(chain.family, chain.table, chain.name))
            if lines:
                nft.load("\n".join(lines) + "\n")
        return changed + self._legacy(add=True)

    def _in_place(self, rules: Sequence[Rule], count: int) -> bool:
        """Whether our rules stand once, together, and behind nothing but those of other instances: if each
        instance wanted the very head, two of them would push each other off it for ever."""
        ours = [place for place, rule in enumerate(rules) if rule.comment == self._comment]
        before = rules[: ours[0]] if ours else []
        return ours == list(range(len(before), len(before) + count)) and all(
            (rule.comment or "").startswith(_FAMILY) for rule in before
        )

    def _deletions(self, chain: Chain, rules: Sequence[Rule]) -> list[str]:
        where = f"{chain.family} {chain.table} {chain.name}"
        return [
            f"delete rule {where} handle {rule.handle}" for rule in rules if rule.comment == self._comment
        ]

    def remove(self) -> None:
        """Take every rule of ours back.

        Raises: nft.NftError.
        """
        lines: list[str] = []
        for chain in self._nft.chains():
            lines += self._deletions(chain, self._nft.rules(chain.family, chain.table, chain.name))
        if lines:
            nft.load("\n".join(lines) + "\n")
        self._legacy(add=False)

    def _gates(self) -> tuple[list[Chain], list[Chain]]:
        """(chains our rules belong into, hooked chains they must not be in): of each foreign table with a
        forward hook, Docker's chain for users if it has one, and the hooked chain otherwise."""
        chains = self._nft.chains()
        users = {(chain.family, chain.table): chain for chain in chains if chain.name == _USER_CHAIN}
        gates: dict[tuple[str, str, str], Chain] = {}
        passed: list[Chain] = []
        for chain in chains:
            if chain.hook != NF_INET_FORWARD or chain.kind != "filter" or chain.table in self._own:
                continue
            if chain.table.startswith(_FAMILY):
                continue  # another instance's: it drops only what goes to its own bridges
            gate = users.get((chain.family, chain.table), chain)
            gates[gate.family, gate.table, gate.name] = gate
            if gate is not chain:
                passed.append(chain)
        return list(gates.values()), passed

    def _legacy(self, *, add: bool) -> int:
        """The same for the older iptables, whose tables nft does not see."""
        changed = 0
        for command, names in _LEGACY_TABLES.items():
            if not _lists(Path("/proc/net") / names, "filter"):
                continue
            listed = _iptables(command, "-S") or ""
            user = f"-N {_USER_CHAIN}" in listed
            chain = _USER_CHAIN if user else "FORWARD"
            forward = [line for line in listed.splitlines() if line.startswith("-A FORWARD")]
            has_ours = f"--comment {self._comment} " in listed or f'--comment "{self._comment}" ' in listed
            wanted = passes(self._short, user)
            if add and not has_ours and (forward or "-P FORWARD ACCEPT" not in listed):
                for entry in reversed(wanted):
                    _iptables(command, "-I", chain, *entry.iptables(self._comment))
                changed += 1
            elif not add and has_ours:
                for name in (_USER_CHAIN, "FORWARD"):
                    for entry in passes(self._short, name == _USER_CHAIN):
                        _iptables(command, "-D", name, *entry.iptables(self._comment))
        return changed


def _lists(path: Path, name: str) -> bool:
    try:
        return name in path.read_text().split()
    except OSError:
        return False


def _iptables(command: str, *arguments: str) -> str | None:
    """Its output; None when there is no such command or it refuses (a rule to delete is not there)."""
    try:
        done = subprocess.run(
            [command, "-w", *arguments],
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
