"""Whole labs: they come up, survive the loss of any part, and leave nothing, however they end."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from netemu.api import core, meta
from netemu.base import errors
from netemu.client import connect
from netemu.kernel import mounts, netns, process
from netemu.lab import config, control, down, handle, readiness, records, routers, up

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes whole labs"),
]

CLI = (sys.executable, "-m", "netemu.cli.main")
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/default/rp_filter",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/accept_dad",
    "net/bridge/bridge-nf-call-iptables",
)


class Host(NamedTuple):
    """What of the host a lab must not change."""

    mounts: tuple[mounts.Mount, ...]
    links: str
    addresses: str
    routes: str
    rules: str
    sysctls: tuple[str, ...]

    @classmethod
    def now(cls) -> "Host":
        def said(*argv: str) -> str:
            return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

        return cls(
            tuple(mount for mount in mounts.table() if mount.fstype != "nsfs"),  # of other tests
            said("ip", "-o", "link"),
            said("ip", "-o", "addr"),
            said("ip", "route", "show", "table", "all") + said("ip", "-6", "route", "show", "table", "all"),
            said("nft", "list", "ruleset"),
            tuple(Path("/proc/sys", key).read_text() for key in SYSCTLS if Path("/proc/sys", key).exists()),
        )


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory of the test's own, empty again and gone afterwards; the host as it was."""
    place = tmp_path / "labs"
    monkeypatch.setenv(records.VARIABLE, str(place))
    before = Host.now()
    yield place
    left = [entry.name for entry in handle.labs()]
    for name in left:
        down.down(name)
    assert Host.now() == before
    assert not place.exists()


@contextlib.contextmanager
def lab(name: str = "one", nodes: int = 1) -> Iterator[handle.Handle]:
    made = up.up(config.default(name, nodes))
    processes = pid_namespace(made)
    try:
        yield made
    finally:
        down.down(name)
        assert inhabitants(processes) == []


def pid_namespace(made: handle.Handle) -> tuple[int, int]:
    return netns.identity(f"/proc/{made.record.supervisor.pid}/ns/pid")


def inhabitants(namespace: tuple[int, int]) -> list[int]:
    """The processes, seen from the host, that live in a pid namespace (not in those below it).

    Without the dead: the lab's first process is reaped by the host's init, when that gets round to it.
    """
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if (
                    netns.identity(f"/proc/{name}/ns/pid") == namespace
                    and process.state(int(name)) not in "ZX"
                ):
                    found.append(int(name))
    return found


def eventually(what: Callable[[], object], *, within: float = 20.0) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + within
    while not what():
        assert time.monotonic() < deadline, what
        with contextlib.suppress(TimeoutError):
            signal.sigtimedwait((), 0.02)


def works(made: handle.Handle) -> None:
    """The API answers, all nodes are Ready, and a Service answers by name on each of them."""

    async def ask() -> None:
        async with asyncio.timeout(20), connect.from_kubeconfig(made.kubeconfig) as client:
            nobody = [].append
            await readiness.wait(client, made.config, lambda node: str(made.netns(node)), nobody, nobody)

    asyncio.run(ask())


def component(made: handle.Handle, name: str) -> dict[str, object]:
    return next(row for row in made.status()["components"] if row["name"] == name)


def test_a_lab_comes_up_is_there_once_and_goes(state: Path) -> None:
    with lab(nodes=3) as made:
        works(made)
        assert made.status()["state"] == "ready"
        assert {row["state"] for row in made.status()["components"]} == {"running"}
        for file in ("kubeconfig", "lab.json", "control.sock", "store.db", "pki/ca.key", "pki/admin.key"):
            assert (state / "one" / file).stat().st_mode & 0o077 == 0, file
        assert (state / "one").stat().st_mode & 0o777 == 0o700
        assert made.addresses("worker-1") == ("172.18.0.3", "fd00:18::3")
        assert "worker-1" in made.node_path("worker-1", "/etc/hostname").read_text()
        with pytest.raises(errors.Rejected, match="up already"):
            up.up(config.default("one", 1))
        works(made)
    with pytest.raises(errors.Rejected, match="not up"):
        handle.open("one")
    assert not down.down("one"), "there was nothing left to remove"


@pytest.mark.parametrize("victim", ["control-plane", "agent-control-plane-1", "runtime-control-plane-1"])
def test_a_killed_component_comes_back_and_pods_do_not_notice(victim: str) -> None:
    with lab() as made:
        pods_before = running_pods(made)
        assert pods_before
        made.restart(victim)
        eventually(lambda: component(made, victim)["restarts"] == 1)
        eventually(lambda: component(made, victim)["state"] == "running")
        works(made)
        assert component(made, victim)["last_end"] == "killed by signal 9"
        assert running_pods(made) == pods_before


def running_pods(made: handle.Handle) -> dict[str, str]:
    """Container ids of the running pods, by name."""

    async def ask() -> dict[str, str]:
        async with asyncio.timeout(20), connect.from_kubeconfig(made.kubeconfig) as client:
            found = await client.list(core.Pod)
        return {
            pod.metadata.name: pod.status.containerStatuses[0].containerID
            for pod in found.items
            if pod.status.containerStatuses
        }

    return asyncio.run(ask())


def test_everything_acknowledged_survives_the_death_of_the_control_plane() -> None:
    with lab() as made:

        async def write() -> list[str]:
            names = [f"n-{number}" for number in range(20)]
            async with asyncio.timeout(20), connect.from_kubeconfig(made.kubeconfig) as client:
                for name in names:
                    await client.create(core.Namespace(metadata=meta.ObjectMeta(name=name)))
            return names

        async def read() -> set[str]:
            async with asyncio.timeout(20), connect.from_kubeconfig(made.kubeconfig) as client:
                return {item.metadata.name for item in (await client.list(core.Namespace)).items}

        written = asyncio.run(write())
        made.restart("control-plane")
        eventually(lambda: component(made, "control-plane")["restarts"] == 1)
        assert set(written) <= asyncio.run(read())


def test_the_death_of_the_first_process_ends_all_and_up_cleans_and_goes_on() -> None:
    made = up.up(config.default("one", 2))
    namespace = pid_namespace(made)
    places = {place: netns.identity(made.netns(place)) for place in made.places}
    assert len(inhabitants(namespace)) >= 6
    os.kill(made.record.supervisor.pid, signal.SIGKILL)
    eventually(lambda: not process.alive(made.record.supervisor))
    assert inhabitants(namespace) == []
    assert not set(places.values()) & in_use("net")
    assert handle.labs() == (("one", "remains"),)
    said: list[str] = []
    again = up.up(config.default("one", 1), progress=said.append)
    assert any("earlier lab" in text for text in said)
    works(again)
    os.kill(again.record.supervisor.pid, signal.SIGKILL)
    assert down.down("one")
    assert handle.labs() == ()


def in_use(kind: str) -> set[tuple[int, int]]:
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if process.state(int(name)) not in "ZX":
                    found.add(netns.identity(f"/proc/{name}/ns/{kind}"))
    return found


def test_the_control_socket_stops_a_lab() -> None:
    made = up.up(config.default("one", 1))
    control.ask(str(made.directory / "control.sock"), {"op": "stop"})
    eventually(lambda: not process.alive(made.record.supervisor))
    down.down("one")


def starting(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen((*CLI, "up", *options), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("moment", ["at once", "are there", "Ready"])
def test_control_c_undoes_what_was_made(moment: str, state: Path) -> None:
    with starting("--nodes", "2") as command:
        wait_for(command, moment, state)
        command.send_signal(signal.SIGINT)
        _, complaint = command.communicate(timeout=30)
    if command.returncode == 0:  # it was up in that very moment: too late to be undone
        assert is_ready("default")
        return
    assert command.returncode == 130
    assert "interrupted" in complaint
    assert not state.exists()


@pytest.mark.parametrize("moment", ["at once", "are there", "Ready"])
def test_nobody_waits_for_a_lab_whose_maker_was_killed(moment: str, state: Path) -> None:
    with starting("--nodes", "2") as command:
        wait_for(command, moment, state)
        record = records.living(records.of("default"))
        namespace = netns.identity(f"/proc/{record.supervisor.pid}/ns/pid") if record else None
        command.kill()
    if record is not None and namespace is not None:
        # Unless it was ready in that very moment: then it is a lab like any other.
        eventually(lambda: not process.alive(record.supervisor) or is_ready("default"))
    down.down("default")
    assert namespace is None or inhabitants(namespace) == []
    assert not state.exists()


@pytest.mark.parametrize("milliseconds", [20, 90, 150, 250, 350, 450, 550, 700, 900, 1200])
def test_whoever_is_killed_whenever_nothing_is_left(milliseconds: int, state: Path) -> None:
    """One process of the lab, or its maker, drawn by lot."""
    chance = random.Random(milliseconds)
    with starting("--nodes", "2") as command:
        signal.sigtimedwait((), milliseconds / 1000)
        record = records.living(records.of("default"))
        namespaces: set[tuple[int, int]] = set()
        candidates = [command.pid]
        if record is not None:
            with contextlib.suppress(OSError):
                namespaces.add(netns.identity(f"/proc/{record.supervisor.pid}/ns/pid"))
                candidates += descendants(record.supervisor.pid)
                namespaces |= {netns.identity(f"/proc/{pid}/ns/net") for pid in candidates[1:]}
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(candidates), signal.SIGKILL)
        _, complaint = command.communicate(timeout=90)
    assert command.returncode in (0, 2, -signal.SIGKILL), complaint
    assert "Traceback" not in complaint
    if command.returncode == 2:
        assert not state.exists(), "whoever reports a failure has cleaned up"
    down.down("default")
    assert not state.exists()
    home = netns.identity("/proc/self/ns/net")
    assert not (in_use("net") | in_use("pid")) & (namespaces - {home})


def descendants(pid: int) -> list[int]:
    """A process and all below it, pods included, as far as they are there at this moment."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            found += [
                int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            ]
    return found


def is_ready(name: str) -> bool:
    try:
        return handle.open(name).status()["state"] == "ready"
    except errors.NetemuError:
        return False


def wait_for(command: subprocess.Popen[str], moment: str, state: Path) -> None:
    if moment == "at once":
        eventually((state / "default").exists)
        return
    assert command.stderr is not None
    for line in command.stderr:
        if moment in line:
            return


def test_labs_live_side_by_side() -> None:
    with lab("left") as left, lab("right", nodes=2) as right:
        works(left)
        works(right)
        assert left.record.api_port != right.record.api_port
        assert [entry.name for entry in handle.labs()] == ["left", "right"]
        down.down("left")
        works(right)


def run(*argv: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **(env or {})}
    )
    return done.returncode, done.stderr


def test_a_taken_port_is_refused(state: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = tmp_path / "lab.yaml"
        file.write_text(f"api-port: {port}\n")
        code, said = run(*CLI, "up", "-f", str(file))
    assert code == 2
    assert f"port {port}" in said
    assert not state.exists()


def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    script = f"mount -t tmpfs -o size=80k small {place} && exec {' '.join(CLI)} up --nodes 1"
    code, said = run("unshare", "--mount", "sh", "-c", script, env={records.VARIABLE: f"{place}/labs"})
    assert code == 2, said
    assert any(word in said for word in ("No space left", "disk", "full")), said
    assert "Traceback" not in said


def test_no_privileges_is_refused() -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv")
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o777)
        # It may read: the project may lie where only root can go.
        kept = "-all,+dac_read_search"
        able = (f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}")
        command = ("setpriv", "--reuid=65534", "--clear-groups", *able, *CLI, "up")
        code, said = run(*command, env={records.VARIABLE: f"{place}/labs"})
        assert os.listdir(place) == []
    assert code == 2, said
    assert "root" in said
    assert "Traceback" not in said


def test_too_few_files_are_refused_at_once(state: Path) -> None:
    code, said = run("sh", "-c", f"ulimit -n 40 && exec {' '.join(CLI)} up")
    assert (code, said.splitlines()[0]) == (2, "netemu: a process may open 40 files here, a lab needs 256")
    assert not state.exists()


def test_a_loopback_that_is_down_is_refused(state: Path) -> None:
    code, said = run("unshare", "--net", *CLI, "up")
    assert code == 2
    assert "loopback" in said
    assert "ip link set lo up" in said
    assert not state.exists()


@pytest.mark.parametrize("mounted", ["true", "mount --bind /etc/hosts /etc/hosts"])
def test_an_ordinary_user_has_a_lab_in_a_namespace_of_his_own(mounted: str, tmp_path: Path) -> None:
    """Also where something is mounted in what a node has an own view of, as in most containers."""
    cli = " ".join(CLI)
    script = f"ip link set lo up && {cli} up --nodes 2 && {cli} get nodes && {cli} down"
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            f'{mounted} && exec unshare --map-root-user --net sh -c "$0"',
            script,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "worker-1" in done.stdout


def test_a_network_that_cannot_be_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routers, "_PATH", str(tmp_path))  # no BIRD there
    monkeypatch.setenv(records.VARIABLE, str(tmp_path / "labs"))
    wanted = config.parse({"network": {"backend": "bgp"}})
    with pytest.raises(errors.Rejected, match="BIRD is not installed"):
        up.up(wanted)
    assert not (tmp_path / "labs").exists()
