"""Two ways to bring a ledger into the kernel: nftables (elements of maps), iptables (kube-proxy's chains).

Each plans without touching the kernel, applies as one transaction a table, and knows its own work again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any, NamedTuple, Protocol

from netemu.base import errors
from netemu.kernel import firewall, network, process
from netemu.kernel import operations as ops
from netemu.kubeproxy import (
    affinity,
    audit,
    iptables,
    iptables_rules,
    layout,
    ledger,
    options,
    plan,
    walk,
    walk_iptables,
)

Surroundings = Mapping[str, layout.Surroundings]
_UNKNOWN = layout.INTERVALS | affinity.DYNAMIC  # what these hold is not compared
PORTION = 4000  # elements
_TOOLS = {"ip": "iptables", "ip6": "ip6tables"}


class Touches(Protocol):
    """Counts everybody's transactions on the tables."""

    def count(self) -> int:
        """Since it was last asked."""
        ...


class Program(Protocol):
    """`fresh` and `change` plan (a change that is false is none); the others may block.

    `recall` is what an earlier proxy's work says of session affinity.
    """

    mode: str

    def surround(self, around: Surroundings) -> None: ...

    def fresh(self, book: ledger.Ledger, added: Iterator[plan.Programmed]) -> Any: ...

    def change(self, book: ledger.Ledger, difference: ledger.Difference, replaced: plan.Replaced) -> Any: ...

    def apply(self, planned: Any) -> None: ...

    def intact(self, book: ledger.Ledger) -> bool: ...

    def recall(self) -> Mapping[str, affinity.Numbers]: ...


# Maps that say what sticky clients were told: Service ports, their backends' numbers, the clients.
_STICKY = (
    (affinity.identities("vip"),),
    tuple(affinity.numbered(mode.scope) for mode in (layout.CLUSTER, layout.LOCAL)),
    (affinity.CLIENTS,),
)


class Fresh(NamedTuple):
    """Everything is to be made anew."""

    elements: Iterator[plan.Programmed]

    def __bool__(self) -> bool:
        return True


class Nftables:
    """One transaction for both tables, and sometimes one to clean up after it."""

    mode = "nftables"

    def __init__(self, door: firewall.Firewall, touches: Touches, around: Surroundings) -> None:
        self._door, self._touches = door, touches
        self._tables = ledger.Tables(around)
        self._trusted = False  # nobody else touched the tables since they were known to be ours

    def surround(self, around: Surroundings) -> None:
        self._tables = ledger.Tables(around)

    def fresh(self, book: ledger.Ledger, added: Iterator[plan.Programmed]) -> Fresh:
        return Fresh(added)

    def change(
        self, book: ledger.Ledger, difference: ledger.Difference, replaced: plan.Replaced
    ) -> tuple[str, ...]:
        return tuple("".join(map(str, document)) for document in self._tables.change(difference))

    def apply(self, planned: Fresh | tuple[str, ...]) -> None:
        before, fresh = self._touches.count(), isinstance(planned, Fresh)
        ours = self._load(planned) if isinstance(planned, Fresh) else self._change(planned)
        self._trusted = (fresh or (self._trusted and not before)) and self._touches.count() <= ours

    def _change(self, documents: tuple[str, ...]) -> int:
        for document in documents:
            self._door.apply(document)
        return len(documents)

    def _load(self, planned: Fresh) -> int:
        """How many transactions that were."""
        count = 0
        with futures.ThreadPoolExecutor(1) as kernel:
            at_work: futures.Future[None] | None = None
            for document in self._fresh(planned):  # rendered while the kernel is at work on the one before
                if at_work is not None:
                    at_work.result()
                at_work = kernel.submit(self._door.apply, document)
                count += 1
            if at_work is not None:
                at_work.result()
        process.return_memory()
        return count

    def _fresh(self, planned: Fresh) -> Iterator[str]:
        """At once where tables are that serve somebody, with the clients that those remember.

        Where there are none, in portions, which need less memory.
        """
        present = self._present()
        if not present:
            yield from self._tables.fresh(planned.elements, PORTION)
            return
        (document,) = self._tables.fresh(planned.elements)
        for family in present:
            command = f"list map {family.table} {affinity.CLIENTS}"
            with contextlib.suppress(firewall.FirewallError):  # somebody broke it
                kept = ", ".join(affinity.kept(self._door.list_json(command)))
                document += f"add element {family.table} {affinity.CLIENTS} {{ {kept} }}\n" if kept else ""
        yield document

    def _present(self) -> tuple[layout.Family, ...]:
        entries = self._door.list_json("list tables")["nftables"]
        found = {(e["table"]["family"], e["table"]["name"]) for e in entries if "table" in e}
        return tuple(family for family in layout.FAMILIES if (family.name, layout.TABLE) in found)

    def recall(self) -> Mapping[str, affinity.Numbers]:
        found: dict[str, affinity.Numbers] = {}
        for family in self._present():
            with contextlib.suppress(firewall.FirewallError):  # tables of another layout
                found |= affinity.recalled(*(self._held(family, names) for names in _STICKY))
        return found

    def _held(self, family: layout.Family, names: Iterable[str]) -> dict[str, str]:
        """What these maps hold, together."""
        listings = (self._door.list_json(f"list map {family.table} {name}") for name in names)
        maps = (of for listing in listings for of in walk.read(listing).values())
        return {key: entry.value for of in maps for key, entry in of.items()}

    def intact(self, book: ledger.Ledger) -> bool:
        self._trusted = self._trusted and not self._touches.count()
        if self._trusted:
            return True
        wanted = audit.spelled(book.elements())
        try:
            same = all(self._same(family, wanted) for family in layout.FAMILIES)
        except firewall.FirewallError:
            return False
        self._trusted = same  # what came after it was read is looked at next time
        process.return_memory()
        return same

    def _same(self, family: layout.Family, wanted: Mapping[tuple[layout.Family, str], set[str]]) -> bool:
        """One set after another: all at once take as much memory as everything else that the proxy has."""
        table = family.table
        for one in self._tables.sets(family):
            if one.name in _UNKNOWN:
                continue
            held = audit.elements(self._door.list_json(f"list {one.noun} {table} {one.name}"))
            found = held.get(one.name, set())
            if not found if one.name == "kinds" else found != wanted.get((family, one.name), set()):
                return False
        rules = self._tables.rules(family)
        sticky = self._tables.sticky_rules(family)
        return audit.rules(self._door.list_json, family, rules) == rules and all(
            audit.count(self._door.list_text(f"list chain {table} {chain}")) == count
            for chain, count in sticky.items()
        )


class Restore(NamedTuple):
    """What one sync of the iptables mode is to bring about. Never false: there always are common chains."""

    wanted: tuple[plan.Wanted, ...]
    replaced: plan.Replaced | None = None  # None: everything is written

    def __bool__(self) -> bool:
        return True


class Iptables:
    """One restore a family: of everything, or of what the Services that changed have.

    `prefix` is put before each command. `system` sets route_localnet, without which nobody gets to node ports
    at 127.0.0.1, and tells the node's addresses (None: those of its object count).
    """

    mode = "iptables"

    def __init__(
        self, around: Surroundings, prefix: Sequence[str] = (), system: network.Network | None = None
    ) -> None:
        self._around, self._prefix, self._system = around, tuple(prefix), system
        self.written: dict[tuple[str, str], int] = {}  # rules of the last restore, by family and table
        self._taking: dict[str, tuple[str, ...] | None] = {}  # where node ports were then, by family

    def surround(self, around: Surroundings) -> None:
        self._around = around

    def fresh(self, book: ledger.Ledger, added: Iterator[plan.Programmed]) -> Restore:
        deque(added, maxlen=0)
        return Restore(iptables.names(dict(book.items())))

    def change(
        self, book: ledger.Ledger, difference: ledger.Difference, replaced: plan.Replaced
    ) -> Restore | None:
        return Restore(iptables.names(dict(book.items())), replaced) if difference else None

    def apply(self, planned: Restore) -> None:
        for family in layout.FAMILIES:
            around = self._here(family)
            if planned.replaced is None:
                text = iptables.document(family, planned.wanted, around, self.saved(family))
                if family is layout.IP:
                    self._route_localnet(around.localhost_node_ports)
            else:
                text = iptables.partial(family, planned.wanted, around, planned.replaced)
            self._run(family, "restore", "--noflush", text=text)
            self._taking[family.name] = around.node_ports
            for table, chains in walk_iptables.read(text).items():
                self.written[family.name, table] = sum(map(len, chains.values()))

    def owned(self, book: ledger.Ledger) -> dict[tuple[str, str], int]:
        """How many rules there are, by family and table."""
        wanted = iptables.names(dict(book.items()))
        return {
            (family.name, table): count
            for family in layout.FAMILIES
            for table, count in Counter(
                rule.table for rule in iptables_rules.everything(family, wanted, self._here(family))
            ).items()
        }

    def recall(self) -> Mapping[str, affinity.Numbers]:
        return {}  # clients are in the kernel's own lists, by names of chains, which stay the same

    def _here(self, family: layout.Family) -> layout.Surroundings:
        """With the node's own addresses instead of ranges for node ports, as kube-proxy writes them."""
        around = self._around[family.name]
        if around.node_ports is None:
            return around
        own: Iterable[str] = around.addresses
        if self._system is not None:
            own = sorted({str(held.ip.ip) for held in self._system.observe().addresses})
        return around._replace(node_ports=options.taking(around, own))

    def _route_localnet(self, wanted: bool) -> None:
        if self._system is not None:
            self._system.apply([ops.SetSysctl("net.ipv4.conf.all.route_localnet", "01"[wanted])])

    def intact(self, book: ledger.Ledger) -> bool:
        wanted = iptables.names(dict(book.items()))
        for family in layout.FAMILIES:
            around = self._here(family)
            if around.node_ports != self._taking.get(family.name):
                return False  # as many rules, perhaps, but for addresses that the node has no more
            saved = self.saved(family)
            text = iptables.document(family, wanted, around, saved)
            if "\n-I " in text or _rules(saved) != _rules(text):
                return False
        return True

    def remove(self) -> None:
        """Everything of kube-proxy's is gone afterwards, whoever made it."""
        for family in layout.FAMILIES:
            text = iptables.removal(self.saved(family))
            if text:
                self._run(family, "restore", "--noflush", text=text)
            if f"-X {iptables_rules.FIREWALL}\n" in text:  # nothing guards 127.0.0.1 any more
                self._route_localnet(False)

    def saved(self, family: layout.Family) -> str:
        """What iptables-save tells of a family. Transient when it does not start."""
        return self._run(family, "save")

    def _run(self, family: layout.Family, verb: str, *arguments: str, text: str = "") -> str:
        command = (*self._prefix, f"{_TOOLS[family.name]}-{verb}", *arguments)
        try:
            done = asyncio.run(process.run(command, stdin=text.encode()))
        except OSError as error:
            raise errors.Transient(f"{command[0]} does not start: {error.strerror}") from error
        if done.code:
            said = done.stderr.decode(errors="replace").strip().replace("\n", ": ")
            raise errors.Transient(f"{command[0]}: {said[:300]}")
        return done.stdout.decode()


def _rules(text: str) -> Counter[tuple[str, str]]:
    """How many rules each of kube-proxy's chains has, by table."""
    found: Counter[tuple[str, str]] = Counter()
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A KUBE-"):
            found[table, line.split(" ", 2)[1]] += 1
    return found
