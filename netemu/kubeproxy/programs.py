"""Two ways to bring a ledger into the kernel: nftables (elements of maps), iptables (kube-proxy's chains).

Each plans without touching the kernel, applies as one transaction a table, and knows its own work again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from netemu.base import errors
from netemu.kernel import firewall, process
from netemu.kubeproxy import affinity, audit, iptables, layout, ledger, plan
from netemu.wire import nft

Surroundings = Mapping[str, layout.Surroundings]
_UNKNOWN = layout.INTERVALS | affinity.DYNAMIC  # what these hold is not compared
_TOOLS = {"ip": "iptables", "ip6": "ip6tables"}


class Generations(Protocol):
    """Counts transactions of everybody in the namespace."""

    def current(self) -> int: ...


class Program(Protocol):
    """`fresh` and `change` plan (a change that is false is none); `apply` and `intact` may block."""

    mode: str

    def surround(self, around: Surroundings) -> None: ...

    def fresh(self, book: ledger.Ledger, added: tuple[plan.Programmed, ...]) -> Any: ...

    def change(self, book: ledger.Ledger, difference: ledger.Difference) -> Any: ...

    def apply(self, planned: Any) -> None: ...

    def intact(self, book: ledger.Ledger) -> bool: ...


class Nftables:
    """One transaction for both tables, and sometimes one to clean up after it."""

    mode = "nftables"

    def __init__(self, door: firewall.Firewall, counting: Generations, around: Surroundings) -> None:
        self._door, self._generations = door, counting
        self._tables = ledger.Tables(around)
        self._trusted: int | None = None  # the generation whose tables are known to be ours

    def surround(self, around: Surroundings) -> None:
        self._tables = ledger.Tables(around)

    def fresh(self, book: ledger.Ledger, added: tuple[plan.Programmed, ...]) -> tuple[str, ...]:
        return ("".join(map(str, self._tables.fresh(added))),)

    def change(self, book: ledger.Ledger, difference: ledger.Difference) -> tuple[str, ...]:
        return tuple("".join(map(str, document)) for document in self._tables.change(difference))

    def apply(self, planned: tuple[str, ...]) -> None:
        for document in planned:
            before = self._generations.current()
            self._door.apply(document)
            if self._trusted in (before, None) and self._generations.current() == before + 1:
                self._trusted = before + 1  # else somebody else's transaction is among them

    def intact(self, book: ledger.Ledger) -> bool:
        now = self._generations.current()
        if now == self._trusted:
            return True
        chains = {family: self._tables.rules(family) for family in layout.FAMILIES}
        try:
            listings = {f: audit.contents(self._door.list_json, f, chains[f]) for f in layout.FAMILIES}
        except firewall.FirewallError:
            return False
        held: dict[layout.Family, list[nft.Element]] = {family: [] for family in layout.FAMILIES}
        for family, element in book.elements():
            held[family].append(element)
        if not all(
            audit.same(listing, held[family], chains[family], _UNKNOWN)
            for family, listing in listings.items()
        ):
            return False
        self._trusted = now  # what came after it was read is looked at next time
        return True


class Iptables:
    """All chains in one restore a family, whatever changed. `prefix` is put before each command."""

    mode = "iptables"

    def __init__(self, around: Surroundings, prefix: Sequence[str] = ()) -> None:
        self._around, self._prefix = around, tuple(prefix)

    def surround(self, around: Surroundings) -> None:
        self._around = around

    def fresh(
        self, book: ledger.Ledger, added: tuple[plan.Programmed, ...]
    ) -> tuple[plan.Wanted | None, ...]:
        """Never false: without Services there still are kube-proxy's own chains."""
        return (*iptables.names(dict(book.items())), None)

    def change(self, book: ledger.Ledger, difference: ledger.Difference) -> tuple[plan.Wanted | None, ...]:
        return self.fresh(book, ()) if difference else ()

    def apply(self, planned: tuple[plan.Wanted | None, ...]) -> None:
        wanted = [one for one in planned if one is not None]
        for family in layout.FAMILIES:
            saved = self._run(family, "save")
            text = iptables.document(family, wanted, self._around[family.name], saved)
            self._run(family, "restore", "--noflush", text=text)

    def intact(self, book: ledger.Ledger) -> bool:
        wanted = iptables.names(dict(book.items()))
        for family in layout.FAMILIES:
            saved = self._run(family, "save")
            text = iptables.document(family, wanted, self._around[family.name], saved)
            if "\n-I " in text or _rules(saved) != _rules(text):
                return False
        return True

    def remove(self) -> None:
        """Everything of kube-proxy's is gone afterwards, whoever made it."""
        for family in layout.FAMILIES:
            text = iptables.removal(self._run(family, "save"))
            if text:
                self._run(family, "restore", "--noflush", text=text)

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
