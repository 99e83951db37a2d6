"""Flows of a lab measured in rounds until they agree with the model, or time is up. Knows the order.

Kubernetes promises that everything is in force eventually: what differs is measured again, against the
objects as they are then.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence

from netemu.client import api
from netemu.lab import handle
from netemu.model import expect, worlds
from netemu.probe import listen, names, questions, resolve, rounds
from netemu.probe.questions import Outcome
from netemu.scenario import plan, sources
from netemu.verify import cases, judge, observing, spreading

WITHIN = 5.0
OUTSIDE_PORT = 8080
# Seconds: until a query is repeated, and until a name is given up. Only servers that answer are asked, so
# silence is a busy machine's, and who asked them twice would wait the longer.
_DNS_PATIENCE, _DNS_DEADLINE = 1.0, 10.0
_PAUSE = 0.03
_DISTURBED = 60.0  # seconds for which is measured again what the machine itself disturbs

Wanted = Callable[[cases.Case], bool]


class Meter:
    """Measures the flows of one lab, again and again. `took`: seconds of the last round."""

    def __init__(self, client: api.Client, lab: handle.Handle, prober: rounds.Prober) -> None:
        self._client, self._lab, self._prober = client, lab, prober
        self._where: dict[worlds.Party, tuple[str, questions.Source]] = {}
        self.took = 0.0

    async def verify(
        self, *, within: float = WITHIN, wanted: Wanted = lambda case: True
    ) -> tuple[judge.Result, ...]:
        """All flows as the objects are now; what differs is measured again for `within` seconds.

        These begin when all was measured once: on a busy machine that may take longer than they last.
        """
        loop = asyncio.get_running_loop()
        self._prober.mute.clear()  # who did not answer to himself then was perhaps only slow
        world = await observing.world(self._client, self._lab)
        asked = cases.every(world, outside_port=OUTSIDE_PORT, wanted=wanted)
        results = dict(zip(asked, await self.measure(asked, world), strict=True))
        attempts = 1
        end, last = loop.time() + within, loop.time() + _DISTURBED
        while wrong := [case for case in results if not results[case].ok]:
            if loop.time() > (last if self._prober.overflowed else end):
                break
            await asyncio.sleep(_PAUSE)
            attempts += 1
            world = await observing.world(self._client, self._lab)
            now = cases.every(world, outside_port=OUTSIDE_PORT, wanted=wanted)
            # A flow that is not there any more needs no answer; new ones need one, too.
            results = {case: results[case] for case in now if case in results}
            again = [case for case in now if case in wrong or case not in results]
            for result in await self.measure(again, world):
                results[result.case] = result._replace(attempts=attempts)
            if self._prober.overflowed:
                end = min(last, loop.time() + within)
        return tuple(results.values())

    async def spread(
        self, results: Iterable[judge.Result], *, within: float = WITHIN
    ) -> tuple[judge.Result, ...]:
        """Whether each endpoint gets its share, of Services that these results found to agree.

        A result for each group of `spreading`; what is wrong is measured again for `within` seconds.
        """
        loop = asyncio.get_running_loop()
        world = await observing.world(self._client, self._lab)
        left = list(spreading.groups(results, world))
        await self._locate(world, {group.case.flow.source for group in left})
        found: dict[cases.Case, judge.Result] = {}
        end = 0.0
        while left:
            flat = [self._question(group.case) for group in left for _ in range(group.requests)]
            said = await asyncio.to_thread(self._prober.measure, flat, controls=self._controls(world))
            answers = iter(said)
            for group in left:
                own = tuple(itertools.islice(answers, group.requests))
                found[group.case] = spreading.judged(group, own, world)
            left = [group for group in left if not found[group.case].ok]
            end = end or loop.time() + within
            if loop.time() > end:
                break
            await asyncio.sleep(_PAUSE)
        return tuple(found.values())

    async def measure(self, asked: Sequence[cases.Case], world: worlds.World) -> tuple[judge.Result, ...]:
        """One round for addresses and for who gets an answer from his DNS server; and one for names, then."""
        await self._locate(world, {case.flow.source for case in asked})
        controls = self._controls(world)
        literal = [case for case in asked if names.is_literal(case.flow.host)]
        named = [case for case in asked if not names.is_literal(case.flow.host)]
        queries = self._queries({case.flow.source for case in named})
        said = await asyncio.to_thread(
            self._prober.measure,
            [*map(self._question, literal), *(query for _, query in queries)],
            controls=controls,
        )
        self.took = self._prober.took
        answers = dict(zip(literal, said, strict=False))
        told = said[len(literal) :]
        served: dict[worlds.Party, set[str]] = {}
        for (party, query), one in zip(queries, told, strict=True):
            if one.outcome is Outcome.OK:
                served.setdefault(party, set()).add(query.host)
        found = await self._resolve(named, served)
        resolved = [case for case in named if found[case].address]
        answers |= {case: found[case] for case in named if not found[case].address}
        if resolved:
            second = [self._question(case)._replace(host=found[case].address) for case in resolved]
            said = await asyncio.to_thread(self._prober.measure, second, controls=controls)
            answers |= dict(zip(resolved, said, strict=True))
        return tuple(self._judged(case, answers[case], world) for case in asked)

    def _queries(self, askers: Iterable[worlds.Party]) -> list[tuple[worlds.Party, questions.Question]]:
        """A query of each to each of his DNS servers: whether it is answered at all."""
        found = []
        for party in askers:
            source = self._where[party][1]
            for server in names.parse(source.resolv_conf).nameservers:
                family: questions.Family = 6 if ":" in server else 4
                found.append((party, questions.Question(source, server, 53, "UDP", family, identify=False)))
        return found

    def _judged(self, case: cases.Case, answer: questions.Answer, world: worlds.World) -> judge.Result:
        verdict = expect.expect(world, case.flow)
        mute = any((one.address, one.port, case.flow.protocol) in self._mute() for one in verdict.answerers)
        return judge.judge(case, verdict, answer, world, mute=mute)

    def _mute(self) -> frozenset[tuple[str, int, str]]:
        return frozenset((one.host, one.port, one.protocol) for one in self._prober.mute)

    def _question(self, case: cases.Case) -> questions.Question:
        flow = case.flow
        protocol: questions.Protocol = next(p for p in _PROTOCOLS if p == flow.protocol)
        _, source = self._where[flow.source]
        return questions.Question(
            source, flow.host, flow.port, protocol, 6 if flow.family == 6 else 4, flow.port != 53
        )

    def _controls(self, world: worlds.World) -> list[questions.Question]:
        """A question to every server that answers by its own program, from its own namespace."""
        found = []
        for pod in cases.own_network(world):
            party = worlds.pod_party(pod)
            if party not in self._where:
                continue
            for number, protocol in cases.declared(pod):
                if protocol != "TCP":  # those connections the kernel answers
                    found += [self._control(party, ip, number, protocol) for ip in party.addresses]
        outside = world.outside
        if outside in self._where:
            found += [self._control(outside, ip, OUTSIDE_PORT, "UDP") for ip in outside.addresses]
        return found

    def _control(self, party: worlds.Party, host: str, port: int, protocol: str) -> questions.Question:
        family: questions.Family = 6 if ":" in host else 4
        kind: questions.Protocol = "SCTP" if protocol == "SCTP" else "UDP"
        return questions.Question(self._where[party][1], host, port, kind, family, identify=False)

    async def _locate(self, world: worlds.World, wanted: Iterable[worlds.Party]) -> None:
        """Find the namespaces of those not known yet; a pod made anew is another."""
        everybody = {*wanted, *cases.senders(world)}
        identity = {party: _identity(world, party) for party in everybody}
        missing = [p for p in everybody if p not in self._where or self._where[p][0] != identity[p]]
        if missing:
            found = await sources.find(self._lab, {plan.Sender(party) for party in missing})
            for sender, source in found.items():
                self._where[sender.party] = (identity[sender.party], source)

    async def _resolve(
        self, named: Sequence[cases.Case], served: Mapping[worlds.Party, set[str]]
    ) -> dict[cases.Case, questions.Answer]:
        """Each name once for each sender and family, of the DNS servers by which he is served, if any."""
        which = {(case.flow.source, case.flow.host, case.flow.family) for case in named}
        ordered = sorted(which, key=str)
        unserved = questions.Answer(Outcome.DNS_FAILURE, detail="no answer from any DNS server")
        answers = await asyncio.gather(
            *(
                self._lookup(_served(self._where[source][1], served.get(source, set())), host, family)
                if source in served or names.listed(self._where[source][1].hosts, host, family)
                else _done(unserved)
                for source, host, family in ordered
            )
        )
        found = dict(zip(ordered, answers, strict=True))
        return {case: found[case.flow.source, case.flow.host, case.flow.family] for case in named}

    @staticmethod
    async def _lookup(source: questions.Source, host: str, family: int) -> questions.Answer:
        try:
            async with asyncio.timeout(_DNS_DEADLINE):
                said = await resolve.resolve(source, host, family, patience=_DNS_PATIENCE)
        except TimeoutError:
            return questions.Answer(Outcome.DNS_FAILURE, detail=f"no answer for {host}")
        except OSError as error:
            return questions.Answer(Outcome.DNS_FAILURE, detail=str(error.strerror or error))
        if not said.addresses:
            return questions.Answer(Outcome.DNS_FAILURE, name=said.name, detail=said.detail)
        return questions.Answer(Outcome.OK, address=said.addresses[0], name=said.name)


_PROTOCOLS: tuple[questions.Protocol, ...] = ("TCP", "UDP", "SCTP", "ICMP")


def _served(source: questions.Source, servers: Collection[str]) -> questions.Source:
    """The same without the DNS servers that do not answer him."""
    lines = (line.split() for line in source.resolv_conf.splitlines())
    kept = (" ".join(words) for words in lines if words[:1] != ["nameserver"] or words[1] in servers)
    return source._replace(resolv_conf="\n".join(kept))


async def _done(answer: questions.Answer) -> questions.Answer:
    return answer


def _identity(world: worlds.World, party: worlds.Party) -> str:
    pod = world.pod(party.name, party.namespace) if party.kind == "pod" else None
    if pod is None:
        return ""
    restarts = sum(status.restartCount for status in pod.status.containerStatuses)
    return f"{pod.metadata.uid}/{restarts}"


@contextlib.asynccontextmanager
async def metering(
    client: api.Client, lab: handle.Handle, *, prober: rounds.Prober | None = None
) -> AsyncIterator[Meter]:
    """A meter, somebody outside who answers at OUTSIDE_PORT, and nobody whose refusals are rationed."""
    async with answering_outside(lab):
        await sources.unrationed(lab)
        yield Meter(client, lab, prober or rounds.Prober())


@contextlib.asynccontextmanager
async def answering_outside(lab: handle.Handle) -> AsyncIterator[None]:
    """Somebody outside who answers at OUTSIDE_PORT, as long as this lasts."""
    async with contextlib.AsyncExitStack() as stack:
        with contextlib.suppress(OSError):  # taken: then somebody is there already
            await stack.enter_async_context(
                listen.listening(str(lab.netns("outside")), OUTSIDE_PORT, "outside")
            )
        yield
