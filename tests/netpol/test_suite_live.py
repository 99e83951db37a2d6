"""The 230 cases of the well-known policy suite in real labs, in both proxy modes, against the textbook."""

import asyncio
import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from netemu.model import worlds
from netemu.verify import clusters, fuzzing, fuzzlabs, hands, judge, observing

sys.path.insert(0, str(Path(__file__).parent))
import suite
import textbook

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a lab"),
]


class Tally(NamedTuple):
    """What was asked; and of the first case that is not as the textbook says, every flow that is not."""

    cases: int = 0
    steps: int = 0
    probes: int = 0
    wrong: tuple[str, ...] = ()

    def __str__(self):
        agree = self.probes - len(self.wrong)
        return f"{self.cases} cases, {self.steps} steps, {self.probes} probes, {agree} agree"


def wanted(case):
    """Pods ask pods and Services, at the ports they have."""
    pods = fuzzing.wanted(case) and case.flow.source.kind == "pod"
    return pods and case.kind in ("pod", "service") and case.flow.port in clusters.PORTS


class Expected:
    """What the textbook says of the cluster in a state; addresses are the API server's."""

    def __init__(self, state, world):
        found = {kind: [] for kind in ("Namespace", "Pod", "NetworkPolicy", "Service")}
        for document in clusters.documents(state):
            found[document["kind"]].append(document)
        self.behind = {}
        for pod in found["Pod"]:
            addresses = worlds.pod_party(world.pod(*reversed(textbook.name_of(pod)))).addresses
            pod["status"] = {"podIPs": [{"ip": address} for address in addresses]}
            self.behind |= dict.fromkeys(addresses, (pod,))
        for service in found["Service"]:
            chosen = [
                pod
                for pod in found["Pod"]
                if pod["metadata"]["namespace"] == service["metadata"]["namespace"]
                and textbook.selects({"matchLabels": service["spec"]["selector"]}, textbook.labels_of(pod))
            ]
            known = world.service(*reversed(textbook.name_of(service)))
            self.behind |= dict.fromkeys(worlds.canonical(known.spec.clusterIPs), chosen)
        self.book = textbook.Textbook(found["Namespace"], found["Pod"], found["NetworkPolicy"])
        self.pods = {textbook.name_of(pod): pod for pod in found["Pod"]}

    def of(self, flow):
        """Behind each address is one pod, or none: then a Service refuses."""
        source = self.pods[flow.source.namespace, flow.source.name]
        for pod in self.behind[flow.host]:
            passes = self.book.allows(source, pod, flow.family, flow.protocol, flow.port)
            return "ok" if passes else "dropped"
        return "refused"


async def run(client, meter, lab):
    """All cases, one after the other, in one cluster."""
    topology = suite.Topology((await fuzzing.surroundings(client, lab)).workers)
    made, first = hands.Hands(client), topology.first()
    await made.become(first)
    world = await observing.world(client, lab)
    cases = suite.cases(topology, worlds.pod_party(world.pod("c", "z")).addresses[0])
    tally = Tally()
    for case in cases:
        await made.become(first)
        for number, step in enumerate(case.steps, 1):
            for change in step:
                await made.do(change)
            await made.settled()
            results = await meter.verify(within=fuzzing.WITHIN, wanted=wanted)
            expected = Expected(made.state, await observing.world(client, lab))
            assert len(results) == 2 * 12 * len(expected.pods) ** 2
            told = ((result, expected.of(result.case.flow)) for result in results)
            wrong = [
                f"{case}, step {number}: {result.case}: {judge.word(result.answer)}; "
                f"textbook: {due}; model: {result.expected}"
                for result, due in told
                if not result.ok or judge.word(result.answer) != due
            ]
            tally = Tally(tally.cases, tally.steps + 1, tally.probes + len(results), (*tally.wrong, *wrong))
        tally = tally._replace(cases=tally.cases + 1)
        if tally.wrong:
            break
    return tally


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("proxy", ["nftables", "iptables"])
def test_all_cases_in_a_lab(proxy, tmp_path, monkeypatch, record_property):
    monkeypatch.setenv("NETEMU_STATE_DIR", str(tmp_path))
    asked = fuzzlabs.Asked(f"suite-{os.getpid()}", 0, 0, None, proxy)
    with fuzzlabs.made(asked, lambda text: None) as lab:
        tally = asyncio.run(fuzzlabs.within(lab, lambda client, meter: run(client, meter, lab)))
    record_property("measured", f"{tally} ({proxy})")
    assert tally.wrong == ()
    assert tally.cases == 230
