"""Whether every endpoint of a Service port gets connections: how often to ask, and what to say. Pure.

A connection's endpoint is drawn by chance, each on its own, so that enough of them leave an endpoint unasked
only when it is not among those drawn from. Knows shares and answers; not how anything is measured.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from netemu.model import services, verdicts, worlds
from netemu.probe import questions, spread
from netemu.verify import cases, judge

MISS = 1e-9  # how probable it may be that an endpoint which has its share is never met
KINDS = ("service", "node-port", "balancer")
_DNS_PORT = 53  # who answers there does not say who he is


class Group(NamedTuple):
    """One flow that stands for all that draw from the same endpoints; `requests` of it are to be sent."""

    case: cases.Case
    verdict: verdicts.Verdict
    requests: int


def groups(results: Iterable[judge.Result], world: worlds.World) -> tuple[Group, ...]:
    """What is worth asking often: one sender for each node, address, port and set of endpoints.

    Not where one endpoint alone answers, where a client stays with the one he had, or where other outcomes
    are possible, too.
    """
    found: dict[tuple[object, ...], Group] = {}
    for result in results:
        flow, verdict = result.case.flow, result.verdict
        names = frozenset((one.namespace, one.endpoint) for one in verdict.answerers)
        if result.case.kind not in KINDS or verdict.words != {"ok"} or len(names) < 2:
            continue
        # Whose tables draw: those of the node that is dialled, else of the sender's.
        at = result.case.owner.node if result.case.owner is not None else flow.source.node
        key = (at, flow.host, flow.port, flow.protocol, names)
        if key in found or flow.port == _DNS_PORT or not result.ok:
            continue
        told = services.translate(world, flow)
        if told is None or not told.stays:
            shares = [one.probability for one in verdict.answerers]
            found[key] = Group(result.case, verdict, spread.requests_needed(shares, miss=MISS))
    return tuple(found.values())


def judged(group: Group, answers: Sequence[questions.Answer], world: worlds.World) -> judge.Result:
    """The answers to all requests of a group as one result: the first wrong one, or who never answered."""
    found = (judge.judge(group.case, group.verdict, answer, world) for answer in answers)
    results = [result._replace(attempts=len(answers)) for result in found]
    wrong = next((result for result in results if not result.ok), None)
    if wrong is not None:
        count = sum(not result.ok for result in results)
        return wrong._replace(wrong=f"{count} of {len(answers)} connections: {wrong.wrong}")
    said = {judge.pod_called(answer.endpoint, group.verdict, world) for answer in answers}
    silent = sorted({one.endpoint for one in group.verdict.answerers} - said)
    if not silent or "" in said:
        return results[0]
    text = f"{', '.join(silent)} never answered in {len(answers)} connections"
    return results[0]._replace(wrong=text, cause=f"{_where(group)} does not lead there")


def _where(group: Group) -> str:
    owner = group.case.owner
    node = owner.node if owner is not None else group.case.flow.source.node
    return f"the Service's rule on {node}" if node else "the Service's rule on some node"
