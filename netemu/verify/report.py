"""What a verification found, as values: differences together that belong together, JSON, JUnit. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

from netemu.model import worlds
from netemu.verify import judge

View = tuple[str, Callable[[judge.Result], object]]


class Difference(NamedTuple):
    """Flows of one sender to one target that go wrong in the same way, whatever protocol, port and family."""

    results: tuple[judge.Result, ...]

    @property
    def first(self) -> judge.Result:
        return self.results[0]

    @property
    def how(self) -> str:
        """Protocols, ports and families, as in "TCP UDP :80 IPv4 IPv6"."""
        flows = [result.case.flow for result in self.results]
        protocols = dict.fromkeys(flow.protocol for flow in flows)
        ports = ",".join(dict.fromkeys(str(flow.port) for flow in flows if flow.port))
        families = dict.fromkeys(f"IPv{flow.family}" for flow in flows)
        return " ".join([*protocols, *([f":{ports}"] if ports else []), *families])


def differences(results: Iterable[judge.Result]) -> tuple[Difference, ...]:
    """Grouped; in the order of the first of each group."""
    groups: dict[tuple[Any, ...], list[judge.Result]] = {}
    for result in results:
        if not result.ok:
            key = (result.case.flow.source, result.case.target, result.wrong, result.cause)
            groups.setdefault(key, []).append(result)
    return tuple(Difference(tuple(group)) for group in groups.values())


def common(results: Sequence[judge.Result]) -> str:
    """What all differences have in common and others do not; "" when nothing stands out."""
    wrong = [result for result in results if not result.ok]
    if len(wrong) < 3:
        return ""
    where = next((text.format(value) for text, value in _shared(_WHERE, wrong, results)), "")
    how = " and ".join(value for _, value in _shared(_HOW, wrong, results))
    if not where:
        return f"all of it is {how}" if how else ""
    return f"{where}, {how}" if how else where


def _shared(
    views: Iterable[View], wrong: Sequence[judge.Result], results: Sequence[judge.Result]
) -> Iterator[tuple[str, str]]:
    """What all that is wrong has in common, and something that is right has not."""
    for text, of in views:
        values = {of(result) for result in wrong}
        if len(values) == 1 and (value := values.pop()) and any(of(r) != value for r in results if r.ok):
            yield text, str(value)


def _between(result: judge.Result) -> str:
    """The two nodes of a flow between nodes, whichever way it goes."""
    source = result.case.flow.source.node
    there = {node for node in _target_nodes(result) if node}
    if source and len(there) == 1 and (other := there.pop()) != source:
        return " and ".join(sorted((source, other)))
    return ""


def _target_nodes(result: judge.Result) -> set[str]:
    owner = result.case.owner
    return {owner.node} if owner is not None else set()


def _sender(result: judge.Result) -> worlds.Party:
    return result.case.flow.source


_WHERE: tuple[View, ...] = (
    ("all of it is between {}", _between),
    ("all of it is sent by {}", _sender),
    ("all of it is to {}", lambda result: result.case.target),
    ("all of it is sent from {}", lambda result: _sender(result).node),
    ("all of it is to pods on {}", lambda result: "".join(_target_nodes(result))),
)
_HOW: tuple[View, ...] = (
    ("{}", lambda result: f"IPv{result.case.flow.family}"),
    ("{}", lambda result: result.case.flow.protocol),
)


def counts(results: Iterable[judge.Result]) -> Counter[tuple[str, str]]:
    """How many flows of each kind of target are "agree", "differ" or "open" (the model does not say)."""
    return Counter(
        (result.case.kind, "differ" if not result.ok else "agree" if result.verdict.decided else "open")
        for result in results
    )


def document(
    results: Sequence[judge.Result], *, lab: str, seconds: float, spread: Sequence[judge.Result] = ()
) -> dict[str, Any]:
    """One JSON object; a flow is an entry of `flows` in the order measured.

    `spread`: flows sent so often (`attempts`) that each endpoint must have answered.
    """
    every = (*results, *spread)
    return {
        "lab": lab,
        "ok": all(result.ok for result in every),
        "flows": [entry(result) for result in results],
        "spread": [entry(result) for result in spread],
        "differences": sum(not result.ok for result in every),
        "common": common(every),
        "seconds": round(seconds, 3),
    }


def entry(result: judge.Result) -> dict[str, Any]:
    """One flow, as JSON has it."""
    flow, answer = result.case.flow, result.answer
    return {
        "from": str(flow.source),
        "to": result.case.target,
        "kind": result.case.kind,
        "host": flow.host,
        "port": flow.port,
        "protocol": flow.protocol,
        "family": f"IPv{flow.family}",
        "ok": result.ok,
        "expected": sorted(word or "?" for word in result.verdict.words),
        "measured": judge.word(answer),
        "endpoint": answer.endpoint,
        "seen": answer.seen,
        "why": [str(reason) for reason in result.verdict.reasons],
        "wrong": result.wrong,
        "cause": result.cause,
        "attempts": result.attempts,
    }


def junit(name: str, results: Sequence[judge.Result]) -> str:
    """JUnit XML: a test suite for each sender, a test case for each flow."""
    root = ElementTree.Element("testsuites", name=name)
    by_sender: dict[str, list[judge.Result]] = {}
    for result in results:
        by_sender.setdefault(str(result.case.flow.source), []).append(result)
    for sender, flows in by_sender.items():
        failures = str(sum(not flow.ok for flow in flows))
        suite = ElementTree.SubElement(
            root, "testsuite", name=sender, tests=str(len(flows)), failures=failures
        )
        for result in flows:
            case = ElementTree.SubElement(
                suite, "testcase", classname=result.case.kind, name=str(result.case)
            )
            if not result.ok:
                failure = ElementTree.SubElement(case, "failure", message=result.wrong)
                failure.text = (
                    f"expected: {result.expected}\nmeasured: {result.measured}\n"
                    f"because: {result.verdict.text}\nlikely cause: {result.cause}"
                )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
