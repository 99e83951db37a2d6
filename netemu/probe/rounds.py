"""Everything asked at once, from many namespaces, in one thread; silence is proven, not waited out.

A question without an answer counts as dropped when, after it was sent for the last time,
 1. every CPU's queue of received packets was passed often enough for any packet to have come to its end,
 2. every server that might have answered has answered a control question from inside its own namespace, which
    stood behind ours in its queue,
 3. and then nothing at all was heard for a while.
Without controls there is no such proof, and silence lasts as long as the deadline says.
"""

import contextlib
import itertools
import os
import random
import resource
import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from netemu.kernel import netns
from netemu.probe import crafted, flows, names, questions, rationing
from netemu.probe.questions import Outcome

OVERFLOWED = "no answer; but the machine's table of neighbours overflowed meanwhile (gc_thresh3)"
DEADLINE = 2.0
QUIET = 0.04
# A packet is queued once for every veth it passes: eight there and back between pods of two nodes. As many
# may come before it for each neighbour that must be found first.
_PASSES = 48
_PASS_PATIENCE = 1.0
_SPARE_FILES = 64
_FILES_EACH = 2  # a connection is tried a second time by a second socket
_FIRST_PORT, _LAST_PORT = 10000, 65536

Handler = Callable[[int], None]


class Prober:
    """Measures rounds. Every flow has a port of its own, as long as there are any left.

    For a connection that a node tracks since an earlier round is let through, whatever the rules are now.
    """

    def __init__(self, *, deadline: float = DEADLINE, quiet: float = QUIET) -> None:
        """`quiet`: seconds of silence after the proof, more on slow links. `deadline`: of the proof."""
        self.deadline, self.quiet = deadline, quiet
        self.sent = self.took = 0.0  # seconds of the last round: until all was sent once; in all
        self.overflowed = False  # neighbours were forgotten during the last round: silence proves little
        self.mute: set[questions.Question] = set()  # controls that got no answer: they are not asked again
        self._ports = itertools.cycle(_rotated(range(_FIRST_PORT, _LAST_PORT)))

    def measure(
        self, asked: Sequence[questions.Question], *, controls: Sequence[questions.Question] = ()
    ) -> tuple[questions.Answer, ...]:
        """Ask all; answers come in the order of the questions, whose hosts are addresses.

        `controls`: a question to each server that may answer, from a source inside its own namespace; any
        answer will do. Blocks the calling thread, and moves it between namespaces.
        """
        for question in (*asked, *controls):
            if not names.is_literal(question.host):
                raise ValueError(f"{question.host} is a name: resolve it first")
        began, full = time.monotonic(), _overflows()
        controls = [control for control in controls if control not in self.mute]
        rationing.lift({question.source.netns for question in (*asked, *controls)})
        answers: list[questions.Answer] = []
        self.sent, self.overflowed = 0.0, False
        size = max(1, (_many_files() - _SPARE_FILES) // _FILES_EACH - len(controls))
        for start in range(0, len(asked), size):
            turn = _Round(asked[start : start + size], controls, self, self._ports)
            try:
                turn.run()
                self.overflowed = _overflows() != full
                answers.extend(turn.answers())
            finally:
                turn.close()
        self.took = time.monotonic() - began
        return tuple(answers)


class _Watch:
    """epoll, and what to call for which descriptor."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._heard: dict[int, Handler] = {}

    def add(self, sock: socket.socket, events: int, heard: Handler) -> None:
        self._epoll.register(sock.fileno(), events)
        self._heard[sock.fileno()] = heard

    def change(self, sock: socket.socket, events: int) -> None:
        self._epoll.modify(sock.fileno(), events)

    def drop(self, sock: socket.socket) -> None:
        if self._heard.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def turn(self, timeout: float) -> bool:
        """Wait until something is heard, or for `timeout` seconds; whether anything was."""
        found = self._epoll.poll(max(timeout, 0.0))
        for fd, events in found:
            heard = self._heard.get(fd)  # closed by an earlier one of this very turn: nobody hears
            if heard is not None:
                heard(events)
        return bool(found)

    def close(self) -> None:
        self._epoll.close()


class _Round:
    """One turn of questions; no more than there are descriptors for."""

    def __init__(
        self,
        asked: Sequence[questions.Question],
        controls: Sequence[questions.Question],
        prober: Prober,
        ports: Iterator[int],
    ) -> None:
        self._watch = _Watch()
        self._raws: dict[str | int, crafted.Raw] = {}
        self._controls, self._prober, self._ports = controls, prober, ports
        self._flows = [self._flow(question) for question in asked]
        self._checking: list[flows.Flow] = []
        self._gone: set[str | int] = set()
        self._last = time.monotonic()  # when something was heard, or sent

    def run(self) -> None:
        began = time.monotonic()
        self._send(self._flows)
        self._prober.sent += time.monotonic() - began
        if not self._controls:
            self._patiently(began)
        elif self._waiting():
            proven = self._prove()
            self._send(self._silent())  # what a full queue lost gets a second chance
            proven = self._prove() and proven
            self._until_quiet(began, self._prober.quiet if proven else self._prober.deadline)

    def answers(self) -> Iterator[questions.Answer]:
        for flow in self._flows:
            flow.close()  # what was learnt until now
            question, said = flow.question, flow.identity
            if question.source.netns in self._gone:
                yield questions.Answer(
                    Outcome.NO_SOURCE, address=flow.address, detail="its namespace is gone"
                )
            elif flow.outcome is None:
                detail = OVERFLOWED if self._prober.overflowed else "no answer"
                yield questions.Answer(Outcome.TIMEOUT, local=flow.local, address=flow.address, detail=detail)
            else:
                yield questions.Answer(
                    flow.outcome, said.endpoint, said.seen, flow.local, flow.address, detail=said.detail
                )

    def close(self) -> None:
        for flow in (*self._flows, *self._checking):
            flow.close()
        for raw in self._raws.values():
            raw.close()
        self._watch.close()

    def _flow(self, question: questions.Question) -> flows.Flow:
        address = question.host
        raw = self._raws.setdefault(question.source.netns, crafted.Raw(question.source.netns, self._watch))
        match question.protocol:
            case "TCP":
                return flows.Tcp(question, address, self._watch)
            case "UDP":
                return flows.Udp(question, address, self._watch, self._ports)
            case "SCTP":
                return crafted.Sctp(question, address, self._watch, raw, next(self._ports))
            case _:
                return crafted.Echo(question, address, self._watch, raw, next(self._ports))

    def _send(self, wanted: Iterable[flows.Flow]) -> None:
        """One visit to each namespace."""
        by_place: dict[str | int, list[flows.Flow]] = {}
        for flow in wanted:
            by_place.setdefault(flow.question.source.netns, []).append(flow)
        for place, there in by_place.items():
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(netns.inside(place))
                except OSError:
                    self._gone.add(place)
                    continue
                for flow in there:
                    flow.send()
            self._hear_all()
        self._last = time.monotonic()

    def _silent(self) -> list[flows.Flow]:
        gone = self._gone
        return [f for f in self._flows if f.outcome is None and f.question.source.netns not in gone]

    def _waiting(self) -> bool:
        return bool(self._silent()) or any(flow.learning for flow in self._flows)

    def _hear_all(self) -> None:
        while self._watch.turn(0):
            self._last = time.monotonic()

    def _prove(self) -> bool:
        """Steps 1 and 2. False when a control stayed without an answer until the deadline."""
        passed = _pass_queues(self._hear_all)
        self._hear_all()
        mute = self._prober.mute
        self._checking = [self._flow(control) for control in self._controls if control not in mute]
        until = time.monotonic() + self._prober.deadline
        self._send(self._checking)
        while missing := [flow for flow in self._checking if self._unfinished(flow)]:
            left = until - time.monotonic()
            if left <= 0:
                break
            self._watch.turn(left)
        self._prober.mute.update(flow.question for flow in missing)
        for flow in self._checking:
            flow.close()
        passed = _pass_queues(self._hear_all) and passed
        self._hear_all()
        return passed and not missing

    def _unfinished(self, flow: flows.Flow) -> bool:
        if flow.question.source.netns in self._gone:
            return False
        return flow.outcome is None or flow.learning

    def _until_quiet(self, began: float, quiet: float) -> None:
        """Step 3. What speaks late begins it anew, as long as there is something to wait for."""
        while self._waiting() and (time.monotonic() < began + self._prober.deadline + quiet):
            left = self._last + quiet - time.monotonic()
            if left <= 0:
                return
            if self._watch.turn(left):
                self._last = time.monotonic()

    def _patiently(self, began: float) -> None:
        """Without controls: until the deadline, asking again twice on the way."""
        for share in (0.25, 0.5, 1.0):
            until = began + share * self._prober.deadline
            while self._waiting() and ((left := until - time.monotonic()) > 0):
                self._watch.turn(left)
            if share < 1.0:
                self._send(self._silent())


def _pass_queues(meanwhile: Callable[[], None]) -> bool:
    """Send a datagram to ourselves so often, on every CPU, that every other packet has reached its end.

    A packet that one CPU receives waits in that CPU's queue (netif_rx), first come first served: while one of
    ours goes through it, every packet that was before it moves one link further. False: it did not come back.
    """
    home = os.sched_getaffinity(0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        sock.settimeout(_PASS_PATIENCE)
        try:
            for cpu in sorted(home):
                os.sched_setaffinity(0, {cpu})
                for _ in range(_PASSES):
                    sock.send(b"!")
                    sock.recv(1)
                meanwhile()
        except OSError:
            return False
        finally:
            os.sched_setaffinity(0, home)
    return True


def _rotated(numbers: range) -> list[int]:
    """The same in the same order, beginning anywhere: another prober has been here a moment ago."""
    start = random.randrange(len(numbers))
    return [*numbers[start:], *numbers[:start]]


def _overflows() -> int:
    """How often the kernel had no room for one more neighbour: a packet to him is lost, and nobody is told.

    The tables are one for all namespaces of the machine (net.ipv4.neigh.default.gc_thresh3, and ipv6).
    """
    found = 0
    for table in ("arp_cache", "ndisc_cache"):
        with contextlib.suppress(OSError, ValueError):
            head, *rows = Path(f"/proc/net/stat/{table}").read_text().splitlines()
            column = head.split().index("table_fulls")
            found += sum(int(row.split()[column], 16) for row in rows)
    return found


def _many_files() -> int:
    """Allow this process as many descriptors as it may have; how many those are.

    It stays so, for other rounds of this process may be under way.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(most, soft)
