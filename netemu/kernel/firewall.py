"""The packet filter of one namespace: nft documents in, nft's JSON out. Knows libnftables; decides no rule.

A document is one transaction: it is applied whole or not at all.
"""

import functools
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from netemu.base import errors
from netemu.kernel import fake_firewall, netns

FakeFirewall = fake_firewall.FakeFirewall
FirewallError = fake_firewall.FirewallError

# Debian's and Ubuntu's python3-nftables, then Fedora's: outside every virtual environment.
_SYSTEM_DIRECTORIES = (
    "/usr/lib/python3/dist-packages",
    f"/usr/lib/python3.{sys.version_info.minor}/site-packages",
    f"/usr/lib64/python3.{sys.version_info.minor}/site-packages",
)


class Firewall(Protocol):
    """The nf_tables rules of a network namespace."""

    def apply(self, text: str) -> None:
        """One transaction in the language of nft(8). FirewallError with nft's words when it is refused."""
        ...

    def list_json(self, command: str) -> dict[str, Any]:
        """The answer to a `list …` command as libnftables-json(5) has it."""
        ...

    def list_text(self, command: str) -> str:
        """The answer to a `list …` command as nft(8) prints it."""
        ...


class LibNftables:
    """The kernel's, through one context kept open (a short-lived nft process pays 10 ms at its end).

    Belongs to `place` (a namespace file or descriptor; None: the caller's), whichever thread uses it later.
    """

    def __init__(self, place: netns.Place | None = None) -> None:
        module = binding()
        with netns.inside(place):
            self._context = module.Nftables()

    def apply(self, text: str) -> None:
        self._run(text)

    def list_json(self, command: str) -> dict[str, Any]:
        self._context.set_json_output(True)
        try:
            found: dict[str, Any] = json.loads(self._run(command) or '{"nftables": []}')
        finally:
            self._context.set_json_output(False)
        return found

    def list_text(self, command: str) -> str:
        return self._run(command)

    def _run(self, text: str) -> str:
        code, output, complaint = self._context.cmd(text)
        if code:
            raise FirewallError(complaint)
        return str(output)


@functools.cache
def binding() -> ModuleType:
    """The module `nftables`. Rejected when it is not installed.

    It comes with the distribution, not from a package index, so a virtual environment does not see it: it
    alone is taken from the system's directories.
    """
    try:
        return importlib.import_module("nftables")
    except ImportError:
        for directory in _SYSTEM_DIRECTORIES:
            origin = Path(directory, "nftables", "__init__.py")
            if origin.is_file():
                return _load(origin)
        raise errors.Rejected(
            "the Python binding of nftables is missing", hint="apt-get install python3-nftables"
        ) from None


def _load(origin: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(
        "nftables", origin, submodule_search_locations=[str(origin.parent)]
    )
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["nftables"] = module
    try:
        found.loader.exec_module(module)
        # The class loads libnftables.so.1 when it is made: say so here and not in the middle of a rule.
        module.Nftables()
    except OSError as missing:
        del sys.modules["nftables"]
        raise errors.Rejected(
            f"libnftables does not load: {missing}", hint="apt-get install nftables"
        ) from None
    return module
