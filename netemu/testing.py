"""A lab as tests use it: apply objects, ask who reaches whom, hear packets. Synchronous; knows no pytest.

Each question is measured by real packets and judged by the model; whoever asks sees both.
"""

import asyncio
import contextlib
import select
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from netemu.base import clock, errors
from netemu.check import ask, places, telling
from netemu.client import api, connect
from netemu.kernel import netns
from netemu.lab import handle
from netemu.model import worlds
from netemu.probe import rounds
from netemu.scenario import applying, manifests, plan, ready, sources, watching
from netemu.verify import cases, judge, measure, observing

T = TypeVar("T")
Wanted = Callable[[Any], bool] | type | None
_READY = 60.0
_AGREED = 2.0  # seconds in which model and measurement may still differ: objects take effect eventually
_ETH_P_ALL = 0x0003


class Connectivity(NamedTuple):
    """What became of one flow, in each family that was asked. True when it was delivered in all of them."""

    asked: str
    results: tuple[judge.Result, ...]
    answers: tuple[telling.Answer, ...]

    @property
    def outcome(self) -> str:
        """ok, dropped, refused, unreachable or no-such-name; "mixed" when families differ."""
        words = {judge.word(result.answer) for result in self.results}
        return words.pop() if len(words) == 1 else "mixed"

    @property
    def ok(self) -> bool:
        """Somebody answered."""
        return self.outcome == "ok"

    @property
    def dropped(self) -> bool:
        """Nobody answered, and that was proven."""
        return self.outcome == "dropped"

    @property
    def refused(self) -> bool:
        """A reset, an abort, or ICMP that says that the port is closed."""
        return self.outcome == "refused"

    @property
    def agrees(self) -> bool:
        """Measured as the model says."""
        return all(result.ok for result in self.results)

    @property
    def endpoints(self) -> frozenset[str]:
        """The host names of those who answered."""
        return frozenset(result.answer.endpoint for result in self.results if result.answer.endpoint)

    @property
    def seen(self) -> frozenset[str]:
        """The client addresses that they saw."""
        return frozenset(result.answer.seen for result in self.results if result.answer.seen)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        last = self.answers[0].verdict.reasons[-1:] if self.answers else ()
        because = f" ({last[0]})" if last else ""
        says = "as the model says" if self.agrees else f"the model says {self.results[0].expected}"
        return f"<{self.asked}: {self.outcome}, {says}{because}>"

    def explain(self) -> str:
        """All that was measured, and the model's whole argument."""
        lines = [f"{self.asked}"]
        for result in self.results:
            lines.append(f"  measured  {result.case}: {result.measured}")
            if not result.ok:
                lines.append(f"  differs   {result.wrong}; likely: {result.cause}")
        for answer in self.answers:
            lines += [f"  model     {line}" for line in telling.lines(answer)]
        return "\n".join(lines)


class Packets(list[Any]):
    """scapy packets as they come in; whole when the `with` of `sniff` ends."""

    def __init__(self) -> None:
        super().__init__()
        self._came = threading.Condition()

    def take(self, packet: Any) -> None:
        with self._came:
            self.append(packet)
            self._came.notify_all()

    def wait(self, count: int = 1, *, timeout: float = 10.0) -> "Packets":
        """Until so many are there. TimeoutError when they are not."""
        __tracebackhide__ = True
        with self._came:
            if not self._came.wait_for(lambda: len(self) >= count, timeout):
                raise TimeoutError(f"{len(self)} packets instead of {count} in {timeout:g} s")
        return self


class Lab:
    """A lab that is up. Every method opens what it needs and closes it again."""

    def __init__(self, lab: handle.Handle) -> None:
        self.handle = lab
        self.asked: list[Connectivity] = []  # what `connectivity` found, in order
        self._prober = rounds.Prober()

    @property
    def kubeconfig(self) -> Path:
        """For kubectl and client libraries."""
        return self.handle.kubeconfig

    def apply(self, *paths: str | Path, text: str = "", namespace: str = "default") -> None:
        """Apply manifests (files, directories, YAML) and wait until they are ready. Rejected when not."""
        __tracebackhide__ = True
        self._do(lambda client: self._apply(client, list(map(str, paths)), text, namespace))

    async def _apply(self, client: api.Client, paths: list[str], text: str, namespace: str) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(text)
            file.flush()
            try:
                wanted = manifests.read([*paths, *([file.name] if text else [])], namespace=namespace)
            except errors.Rejected as error:
                raise errors.Rejected(error.message.replace(file.name, "text"), hint=error.hint) from None
        for manifest in wanted:
            await applying.apply(client, manifest)
        objects = [ready.Applied(one.kind.kind, one.namespace, one.name) for one in wanted]
        async with watching.watching(client, clock.SystemClock()) as watcher:
            everything = (*ready.ALWAYS, *objects)
            missing = await watcher.until_ready(everything, timeout=_READY, progress=lambda text: None)
        if missing:
            raise errors.Rejected(f"not ready within {_READY:g} s: {'; '.join(missing)}")

    def connectivity(
        self,
        sender: str,
        target: str,
        *,
        protocol: str | None = None,
        family: int | None = None,
        namespace: str = "default",
    ) -> Connectivity:
        """Measure a flow: `connectivity("web-0", "db:5432")`. Both ends as `netemu explain` takes them.

        Without a protocol it is that of the target's port, else TCP; without a `family` (4 or 6), both that
        the two have. ICMP is a protocol without a port. Outside, somebody answers on port 8080.
        """
        __tracebackhide__ = True
        dial = _Dial(sender, target, protocol, family, namespace)
        found = self._do(lambda client: self._connectivity(client, dial))
        self.asked.append(found)
        return found

    async def _connectivity(self, client: api.Client, dial: "_Dial") -> Connectivity:
        end = time.monotonic() + _AGREED
        async with measure.metering(client, self.handle, prober=self._prober) as meter:
            while True:
                world = await observing.world(client, self.handle)
                answers = dial.answers(world)
                results = await meter.measure([_case(world, answer) for answer in answers], world)
                found = Connectivity(str(dial), results, answers)
                if found.agrees or time.monotonic() > end:
                    return found

    @contextlib.contextmanager
    def sniff(
        self, place: str, *, device: str = "eth0", wanted: Wanted = None, namespace: str = "default"
    ) -> Iterator[Packets]:
        """Capture in a pod, on a node, or outside while the `with` lasts.

        `wanted` says which packets to keep: a scapy layer (`ICMP`), or a function. `device`: "" means all.
        """
        from scapy.layers.l2 import Ether

        keep = _keeper(wanted)
        found = Packets()
        with contextlib.closing(self._tap(self._netns(place, namespace), device)) as tap:
            ours, theirs = socket.socketpair()

            def listen() -> None:
                stopping = False
                while not stopping:
                    ready_now, _, _ = select.select([tap, theirs], [], [])
                    stopping = theirs in ready_now
                    with contextlib.suppress(BlockingIOError):  # drained, also when it is to stop
                        while True:
                            packet = Ether(tap.recv(65535))
                            if keep(packet):
                                found.take(packet)

            listener = threading.Thread(target=listen, name="sniff", daemon=True)
            listener.start()
            try:
                yield found
            finally:
                ours.send(b"!")
                listener.join()
                ours.close()
                theirs.close()

    def netns(self, place: str, *, namespace: str = "default") -> str:
        """The network namespace file of a pod, a node, or `outside`: for sockets of one's own."""
        return self._netns(place, namespace)

    def _netns(self, place: str, namespace: str) -> str:
        async def find(client: api.Client) -> str:
            world = await observing.world(client, self.handle)
            sender = plan.Sender(places.Finder(world, namespace).source(place))
            return str((await sources.find(self.handle, [sender]))[sender].netns)

        return self._do(find)

    @staticmethod
    def _tap(place: str, device: str) -> socket.socket:
        with netns.inside(place):
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            tap.setblocking(False)
            if device:
                tap.bind((device, _ETH_P_ALL))
        return tap

    def _do(self, work: Callable[[api.Client], Awaitable[T]]) -> T:
        async def run() -> T:
            async with connect.from_kubeconfig(self.handle.kubeconfig) as client:
                return await work(client)

        __tracebackhide__ = True  # a test's author needs no line of ours
        try:
            return asyncio.run(run())
        except errors.Rejected as error:
            raise errors.Rejected(f"{error.message}{f' ({error.hint})' if error.hint else ''}") from None


class _Dial(NamedTuple):
    """A flow in words; a family of None means both."""

    sender: str
    target: str
    protocol: str | None
    family: int | None
    namespace: str

    def __str__(self) -> str:
        return f"{self.sender} -> {self.target}{f' {self.protocol}' if self.protocol else ''}"

    def answers(self, world: worlds.World) -> tuple[telling.Answer, ...]:
        """What the model says, in each family that both ends have. Rejected when there is none."""
        finder = places.Finder(world, self.namespace)
        source = finder.source(self.sender)
        hosts = finder.target(self.target, source).hosts
        own = [family for family in hosts if source.of_family(family)]
        chosen: Sequence[int] = [self.family] if self.family else own or list(hosts)
        return tuple(
            ask.ask(world, finder, self.sender, self.target, protocol=self.protocol, family=family)
            for family in chosen
        )


def _case(world: worlds.World, answer: telling.Answer) -> cases.Case:
    owner = world.owner(answer.flow.host) if worlds.is_address(answer.flow.host) else None
    return cases.Case(answer.flow, "pod", answer.shown, owner)


def _keeper(wanted: Wanted) -> Callable[[Any], bool]:
    if wanted is None:
        return lambda packet: True
    if isinstance(wanted, type):
        return lambda packet: wanted in packet
    return wanted
