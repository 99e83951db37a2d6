"""nf_tables in memory: as atomic as the kernel, and it refuses references to what is not there.

Knows one command a line (`add rule ip t c …`) over tables, chains, rules, sets, maps and elements; of rules
only the names of chains and sets in them. Checked by the same tests as the kernel.
"""

import copy
import errno
import os
import re
from dataclasses import dataclass, field
from typing import Any

from netemu.kernel import linux

_REFERENCE = re.compile(r"\b(?:jump|goto)\s+([\w-]+)|@(?!(?:ll|nh|th),)([\w-]+)")
_QUOTED = re.compile(r'"[^"]*"')
_FAMILIES = ("ip", "ip6", "inet", "arp", "bridge", "netdev")


class FirewallError(linux.KernelError):
    """nft, or the kernel behind it, refused a transaction; the message is nft's and the line it blames."""

    def __init__(self, complaint: str) -> None:
        lines = [line.strip() for line in complaint.splitlines() if line.strip()]
        super().__init__("nft: " + (": ".join(lines[:2])[:300] or "refused without a word"))
        self.complaint = complaint


@dataclass
class Table:
    """Chains are rules in order; sets map keys to "", maps to values; `kinds` is "set", "map" by name."""

    chains: dict[str, list[str]] = field(default_factory=dict)
    hooks: dict[str, str] = field(default_factory=dict)
    sets: dict[str, dict[str, str]] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)


class FakeFirewall:
    """`tables` by "family name" is what a test may look at; `transactions` what was applied."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.transactions: list[str] = []

    def apply(self, text: str) -> None:
        before = copy.deepcopy(self.tables)
        try:
            for line in text.splitlines():
                if line.strip() and not line.lstrip().startswith("#"):
                    self._command(line.strip())
        except BaseException:
            self.tables = before
            raise
        self.transactions.append(text)

    def list_json(self, command: str) -> dict[str, Any]:
        """Tables, chains, sets and maps with their names; not what is in them, which would need a parser."""
        words = command.split()
        if words == ["list", "tables"]:
            wanted = {name: Table() for name in self.tables}
        elif words[:2] == ["list", "ruleset"]:
            wanted = dict(self.tables)
        elif words[:2] == ["list", "table"] and len(words) == 4:
            name = " ".join(words[2:])
            wanted = {name: self._table(name, command)}
        else:
            raise _syntax(command)
        objects: list[dict[str, Any]] = [{"metainfo": {"json_schema_version": 1}}]
        for full, table in wanted.items():
            family, name = full.split()
            objects.append({"table": {"family": family, "name": name}})
            for kind, names in (("chain", table.chains), ("set", table.sets)):
                for one in names:
                    what = table.kinds.get(one, kind) if kind == "set" else kind
                    objects.append({what: {"family": family, "table": name, "name": one}})
        return {"nftables": objects}

    def list_text(self, command: str) -> str:
        """The rules of one chain."""
        verb, noun, family, name, chain = (*command.split(), "", "", "", "", "")[:5]
        rules = self._table(f"{family} {name}", command).chains.get(chain)
        if (verb, noun) != ("list", "chain") or rules is None:
            raise _syntax(command)
        lines = "".join(f"\t\t{rule}\n" for rule in rules)
        return f"table {family} {name} {{\n\tchain {chain} {{\n{lines}\t}}\n}}\n"

    def _command(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        noun, _, rest = rest.strip().partition(" ")
        family, _, rest = rest.strip().partition(" ")
        table, _, rest = rest.strip().partition(" ")
        table = table.rstrip(";")
        if verb not in ("add", "create", "delete", "flush") or family not in _FAMILIES or not table:
            raise _syntax(line)
        full = f"{family} {table}"
        if noun == "table":
            self._change_table(verb, full, line)
            return
        self._change(self._table(full, line), verb, noun, rest.strip(), line)

    def _change_table(self, verb: str, full: str, line: str) -> None:
        if verb == "create" and full in self.tables:
            raise _refused(errno.EEXIST, line)
        if verb in ("add", "create"):
            self.tables.setdefault(full, Table())
            return
        held = self._table(full, line)
        if verb == "delete":
            del self.tables[full]
        else:
            held.chains = {name: [] for name in held.chains}

    def _change(self, table: Table, verb: str, noun: str, rest: str, line: str) -> None:
        name, _, body = rest.partition(" ")
        body = body.strip()
        match noun:
            case "chain":
                self._chain(table, verb, name, body, line)
            case "set" | "map":
                self._set(table, verb, noun, rest, line)
            case "rule" if verb == "add":
                if name not in table.chains:
                    raise _refused(errno.ENOENT, line)
                self._check_references(table, body, line)
                table.chains[name].append(body)
            case "element" if verb in ("add", "create", "delete"):
                self._elements(table, verb, name, body, line)
            case _:
                raise _syntax(line)

    def _chain(self, table: Table, verb: str, name: str, body: str, line: str) -> None:
        if verb in ("add", "create"):
            if verb == "create" and name in table.chains:
                raise _refused(errno.EEXIST, line)
            table.chains.setdefault(name, [])
            table.hooks.setdefault(name, body)
            return
        if name not in table.chains:
            raise _refused(errno.ENOENT, line)
        if verb == "flush":
            table.chains[name].clear()
            return
        if name in _referred(table, without_chain=name):
            raise _refused(errno.EBUSY, line)
        del table.chains[name], table.hooks[name]

    def _set(self, table: Table, verb: str, kind: str, rest: str, line: str) -> None:
        name, _, body = rest.partition(" ")
        if verb in ("add", "create"):
            if name in table.sets and (verb == "create" or table.declared[name] != body):
                raise _refused(errno.EEXIST, line)
            table.sets.setdefault(name, {})
            table.declared[name], table.kinds[name] = body, kind
            return
        if name not in table.sets:
            raise _refused(errno.ENOENT, line)
        if verb == "flush":
            table.sets[name].clear()
            return
        if "@" + name in _referred(table):
            raise _refused(errno.EBUSY, line)
        del table.sets[name], table.declared[name], table.kinds[name]

    def _elements(self, table: Table, verb: str, name: str, body: str, line: str) -> None:
        if name not in table.sets:
            raise _refused(errno.ENOENT, line)
        if not (body.startswith("{") and body.endswith("}")):
            raise _syntax(line)
        held = table.sets[name]
        for text in _QUOTED.sub("", body[1:-1]).split(","):
            head, _, value = text.partition(" : ")
            key = " ".join(re.sub(r"\b(comment|timeout \w+|expires \w+)\s*", "", head).split())
            value = " ".join(value.split())
            if verb == "delete":
                if key not in held:
                    raise _refused(errno.ENOENT, line)
                del held[key]
                continue
            self._check_references(table, value, line)
            if key in held and (verb == "create" or held[key] != value):
                raise _refused(errno.EEXIST, line)
            held[key] = value

    def _check_references(self, table: Table, text: str, line: str) -> None:
        for chain, named_set in _REFERENCE.findall(_QUOTED.sub("", text)):
            if (chain and chain not in table.chains) or (named_set and named_set not in table.sets):
                raise _refused(errno.ENOENT, line)

    def _table(self, full: str, line: str) -> Table:
        if full not in self.tables:
            raise _refused(errno.ENOENT, line)
        return self.tables[full]


def _referred(table: Table, *, without_chain: str = "") -> set[str]:
    """Names of chains, and of sets with an @, that rules and elements refer to."""
    texts = [rule for chain, rules in table.chains.items() if chain != without_chain for rule in rules]
    texts += [value for elements in table.sets.values() for value in elements.values()]
    found = (match for text in texts for match in _REFERENCE.findall(_QUOTED.sub("", text)))
    return {chain or "@" + named_set for chain, named_set in found}


def _refused(number: int, line: str) -> FirewallError:
    return FirewallError(f"Error: Could not process rule: {os.strerror(number)}\n{line}")


def _syntax(line: str) -> FirewallError:
    return FirewallError(f"Error: syntax error\n{line}")
