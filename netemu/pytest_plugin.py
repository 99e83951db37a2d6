"""pytest fixtures around a netemu lab: `netemu_lab`, `connectivity`, `sniff`. See docs/testing.md.

Loaded by every pytest that finds netemu installed: it imports pytest alone until a fixture is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from netemu import testing

_NODES = 3
_SECTION = "netemu: measured, and what the model says"


class Wanted(NamedTuple):
    """A lab as a module asks for it. Modules that ask for the same one share it."""

    manifests: tuple[str, ...]
    nodes: int
    file: str


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("netemu", "a Kubernetes network for tests")
    group.addoption("--netemu-in", metavar="LAB", help="Use this lab, which is up, and leave it up.")
    group.addoption("--netemu-keep", action="store_true", help="Leave labs up after the tests.")
    parser.addini("netemu_manifests", "files and directories to apply to every lab", type="paths")
    parser.addini("netemu_nodes", "nodes of a lab, the control plane among them", default=str(_NODES))
    parser.addini("netemu_file", "a Lab document (netemu up -f)", default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "netemu(manifests=[], nodes=3, file=''): the lab of a module; manifests are relative to its file",
    )


@pytest.fixture(scope="session")
def netemu_labs(request: pytest.FixtureRequest) -> Iterator[Callable[[Wanted], testing.Lab]]:
    """Labs by what is wanted of them, made when first asked for, and removed after the last test."""
    from netemu.lab import down

    made: dict[Wanted, testing.Lab] = {}

    def find(wanted: Wanted) -> testing.Lab:
        if wanted not in made:
            made[wanted] = _made(wanted, request.config.getoption("--netemu-in"), len(made))
        return made[wanted]

    yield find
    if not (request.config.getoption("--netemu-in") or request.config.getoption("--netemu-keep")):
        for lab in made.values():
            down.down(lab.handle.name)


@pytest.fixture(scope="module")
def netemu_lab(request: pytest.FixtureRequest, netemu_labs: Callable[[Wanted], testing.Lab]) -> testing.Lab:
    """The lab of this module: see the marker `netemu`. Skips, with the reason, without root."""
    if os.geteuid() != 0:
        pytest.skip("netemu needs root: it makes network namespaces (run pytest with sudo)")
    return netemu_labs(_wanted(request))


@pytest.fixture
def connectivity(netemu_lab: testing.Lab) -> Callable[..., testing.Connectivity]:
    """`connectivity("web-0", "db:5432").ok`: measured, and explained by the model when a test fails."""
    netemu_lab.asked.clear()
    return netemu_lab.connectivity


@pytest.fixture
def sniff(netemu_lab: testing.Lab) -> Callable[..., Any]:
    """`with sniff("web-0", wanted=ICMP) as packets:` captures there while the `with` lasts."""
    return netemu_lab.sniff


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that fails shows everything that was measured in it, with the model's argument."""
    outcome: Any = yield
    report = outcome.get_result()
    used = getattr(item, "funcargs", {})
    if report.when == "call" and report.failed and "connectivity" in used and "netemu_lab" in used:
        text = "\n\n".join(found.explain() for found in used["netemu_lab"].asked)
        if text:
            report.sections.append((_SECTION, text))


def _wanted(request: pytest.FixtureRequest) -> Wanted:
    marker = request.node.get_closest_marker("netemu")
    given: dict[str, Any] = dict(marker.kwargs) if marker else {}
    unknown = given.keys() - {"manifests", "nodes", "file"}
    if unknown or (marker and marker.args):
        wrong = ", ".join(sorted(unknown)) or "positional arguments"
        raise pytest.UsageError(f"the marker netemu takes manifests, nodes and file, not {wrong}")
    here = Path(str(request.node.path)).parent
    manifests = [str(path) for path in request.config.getini("netemu_manifests")]
    paths = given.get("manifests", ())
    manifests += [str(here / path) for path in ([paths] if isinstance(paths, str) else paths)]
    file = given.get("file", "")
    return Wanted(
        tuple(manifests),
        int(given.get("nodes", request.config.getini("netemu_nodes"))),
        str(here / file) if file else str(request.config.getini("netemu_file")),
    )


def _made(wanted: Wanted, existing: str | None, number: int) -> testing.Lab:
    from netemu import testing
    from netemu.base import errors
    from netemu.lab import config, down, handle, up

    try:
        if existing:
            lab = testing.Lab(handle.open(existing))
        else:
            name = f"pytest-{os.getpid()}-{number}"
            asked = config.load(wanted.file, name=name) if wanted.file else config.default(name, wanted.nodes)
            lab = testing.Lab(up.up(asked))
        try:
            lab.apply(*wanted.manifests)
        except BaseException:
            if not existing:
                down.down(lab.handle.name)
            raise
    except errors.NetemuError as error:
        pytest.fail(f"netemu: {error.message}{f' ({error.hint})' if error.hint else ''}", pytrace=False)
    return lab
