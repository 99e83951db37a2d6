"""What iptables-restore reads in kube-proxy's iptables mode: all tables, what changed, or their end. Pure.

The first restore writes all rules; later ones the common chains and those of the Services that changed.
What is there already, iptables-save tells; chains of Services that nobody wants are removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from netemu.api import meta
from netemu.kubeproxy import iptables_rules, layout, plan

# table, chain, what the jump matches, target, comment; inserted at the top when missing
JUMPS = (
    (
        "filter",
        "INPUT",
        "-m conntrack --ctstate NEW",
        "KUBE-EXTERNAL-SERVICES",
        "externally-visible service portals",
    ),
    (
        "filter",
        "FORWARD",
        "-m conntrack --ctstate NEW",
        "KUBE-EXTERNAL-SERVICES",
        "externally-visible service portals",
    ),
    ("filter", "INPUT", "", "KUBE-NODEPORTS", "health check service ports"),
    ("filter", "INPUT", "", "KUBE-FIREWALL", ""),
    ("filter", "OUTPUT", "", "KUBE-FIREWALL", ""),
    ("filter", "FORWARD", "-m conntrack --ctstate NEW", "KUBE-SERVICES", "service portals"),
    ("filter", "OUTPUT", "-m conntrack --ctstate NEW", "KUBE-SERVICES", "service portals"),
    ("filter", "FORWARD", "", "KUBE-FORWARD", "forwarding rules"),
    ("filter", "INPUT", "-m conntrack --ctstate NEW", "KUBE-PROXY-FIREWALL", "load balancer firewall"),
    ("filter", "OUTPUT", "-m conntrack --ctstate NEW", "KUBE-PROXY-FIREWALL", "load balancer firewall"),
    ("filter", "FORWARD", "-m conntrack --ctstate NEW", "KUBE-PROXY-FIREWALL", "load balancer firewall"),
    ("nat", "OUTPUT", "", "KUBE-SERVICES", "service portals"),
    ("nat", "PREROUTING", "", "KUBE-SERVICES", "service portals"),
    ("nat", "POSTROUTING", "", "KUBE-POSTROUTING", "postrouting rules"),
)
CANARY = "KUBE-PROXY-CANARY"  # empty: when it is gone, somebody flushed the table
FIXED = {
    "mangle": (CANARY,),
    "filter": (
        "KUBE-SERVICES",
        "KUBE-EXTERNAL-SERVICES",
        "KUBE-FORWARD",
        "KUBE-NODEPORTS",
        "KUBE-PROXY-FIREWALL",
        CANARY,
    ),
    "nat": ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", CANARY),
}
_OURS = re.compile(r"KUBE-(?:SVC|SVL|EXT|FW|SEP|XLB)-[A-Z2-7]{16}$")  # XLB: of releases before 1.24


def document(
    family: layout.Family,
    wanted: Iterable[plan.Wanted],
    around: layout.Surroundings,
    saved: str,
) -> str:
    """What `iptables-restore --noflush` is to read; `saved` is what iptables-save told."""
    rules = tuple(iptables_rules.everything(family, wanted, around))
    lines: list[str] = []
    for table in FIXED:
        fixed = _fixed(table, family, around)
        mine = tuple(rule for rule in rules if rule.table == table)
        chains = tuple(dict.fromkeys((*fixed, *(rule.chain for rule in mine))))
        observed = _observed(saved, table)
        here = set(chains)
        stale = tuple(name for name in observed.chains if _OURS.match(name) and name not in here)
        lines += _table(table, chains, tuple(_jumps(table, fixed, observed)), mine, stale)
    return "".join(line + "\n" for line in lines)


def partial(
    family: layout.Family,
    wanted: Iterable[plan.Wanted],
    around: layout.Surroundings,
    replaced: plan.Replaced,
) -> str:
    """Likewise, for a table that holds what was planned before `replaced`: other Services' chains stay."""
    before, after = (
        {name for pair in replaced.values() for name in _own(family, pair[which], around)} for which in (0, 1)
    )
    rules = tuple(iptables_rules.everything(family, wanted, around))
    lines: list[str] = []
    for table in ("filter", "nat"):
        chains = _fixed(table, family, around)
        if table == "nat":
            chains += tuple(sorted(after))
        here = set(chains)
        mine = tuple(rule for rule in rules if rule.table == table and rule.chain in here)
        lines += _table(table, chains, (), mine, tuple(sorted(before - after)) if table == "nat" else ())
    return "".join(line + "\n" for line in lines)


def _own(family: layout.Family, one: plan.Wanted | None, around: layout.Surroundings) -> Iterator[str]:
    """The chains that are one Service's alone."""
    if one is not None:
        yield from (
            rule.chain for rule in iptables_rules.of_service(family, one, around) if _OURS.match(rule.chain)
        )


def removal(saved: str) -> str:
    """Takes away all that kube-proxy makes, jumps included; empty when there is nothing.

    The chain that kubelet makes as well stays where its canary shows that there is one.
    """
    lines = []
    kubelet = ":KUBE-KUBELET-CANARY " in saved
    for table, fixed in FIXED.items():
        observed = _observed(saved, table)
        known = fixed if kubelet else (*fixed, iptables_rules.FIREWALL)
        ours = [name for name in observed.chains if _OURS.match(name) or name in known]
        if ours:
            lines += [f"*{table}", *(f":{name} - [0:0]" for name in ours)]
            lines += [f"-D{rule[2:]}" for rule in observed.jumps if rule.rsplit(" ", 1)[-1] in ours]
            lines += [*(f"-X {name}" for name in ours), "COMMIT"]
    return "".join(line + "\n" for line in lines)


class _Observed(NamedTuple):
    chains: tuple[str, ...]
    jumps: tuple[str, ...]  # rules of built-in chains


def _observed(saved: str, table: str) -> _Observed:
    _, _, rest = saved.partition(f"*{table}\n")
    lines = rest.partition("COMMIT")[0].splitlines()
    chains = tuple(line[1:].split()[0] for line in lines if line.startswith(":KUBE-"))
    return _Observed(chains, tuple(line for line in lines if line.startswith("-A ") and line[3:7] != "KUBE"))


def _fixed(table: str, family: layout.Family, around: layout.Surroundings) -> tuple[str, ...]:
    """The chains which are there whatever Services are."""
    guarded = table == "filter" and family is layout.IP and around.localhost_node_ports
    return (*FIXED[table], iptables_rules.FIREWALL) if guarded else FIXED[table]


def _jumps(table: str, chains: tuple[str, ...], observed: _Observed) -> Iterator[str]:
    for of, base, match, target, comment in JUMPS:
        there = any(j.startswith(f"-A {base} ") and j.endswith(f"-j {target}") for j in observed.jumps)
        if of == table and target in chains and not there:
            why = iptables_rules.comment(f"kubernetes {comment}") if comment else ""
            yield iptables_rules.joined(f"-I {base}", match, why, f"-j {target}")


def _table(
    table: str,
    chains: tuple[str, ...],
    jumps: tuple[str, ...],
    rules: tuple[iptables_rules.Rule, ...],
    stale: tuple[str, ...],
) -> Iterator[str]:
    yield f"*{table}"
    # Which empties them. Last ones first: iptables-nft 1.8 keeps a sorted list, searched from its beginning.
    yield from (f":{name} - [0:0]" for name in sorted((*chains, *stale), reverse=True))
    yield from jumps
    yield from (f"-A {rule.chain} {rule.text}" for rule in rules)
    yield from (f"-X {name}" for name in stale)
    yield "COMMIT"


def names(wanted: Mapping[meta.Key, plan.Wanted]) -> tuple[plan.Wanted, ...]:
    """Services in the order of their names, which the rules keep."""
    return tuple(wanted[key] for key in sorted(wanted))
