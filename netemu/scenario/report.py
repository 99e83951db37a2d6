"""A scenario's outcome as a value, and as JSON and JUnit documents. Pure; the picture for people is cli's."""

import json
from typing import Any, NamedTuple
from xml.etree import ElementTree

from netemu.scenario import judge, scenarios


class Report(NamedTuple):
    """Everything a run learnt. `unready` says what never became ready; `seconds` how long each step took."""

    scenario: scenarios.Scenario
    lab: str
    results: tuple[judge.Result, ...]
    empty: tuple[scenarios.Check, ...] = ()
    unready: tuple[str, ...] = ()
    seconds: tuple[tuple[str, float], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything became ready, was measured, and held."""
        return not self.unready and not self.empty and all(result.ok for result in self.results)


def to_json(report: Report) -> str:
    """The report as JSON: one object, probes in the order of the checks; times are seconds."""
    document = {
        "scenario": report.scenario.name,
        "lab": report.lab,
        "ok": report.ok,
        "unready": list(report.unready),
        "notMeasured": [check.name for check in report.empty],
        "seconds": {step: round(spent, 4) for step, spent in report.seconds},
        "probes": [probe_document(result) for result in report.results],
    }
    return json.dumps(document, indent=2) + "\n"


def to_junit(report: Report) -> str:
    """The report as JUnit XML: a test suite a check, a test case a probe."""
    root = ElementTree.Element("testsuites", name=report.scenario.name)
    for check in report.scenario.checks:
        results = [result for result in report.results if result.probe.check == check]
        failures = sum(not result.ok for result in results) + (check in report.empty)
        tests = str(max(len(results), 1))
        suite = ElementTree.SubElement(
            root, "testsuite", name=check.name, tests=tests, failures=str(failures)
        )
        for result in results:
            case = _case(suite, check, title(result), max((a.total_s for a in result.answers), default=0.0))
            if not result.ok:
                failure = ElementTree.SubElement(case, "failure", message=result.wrong)
                failure.text = (
                    f"expected: {result.expected}\nmeasured: {result.measured}\nlikely cause: {result.cause}"
                )
        if check in report.empty:
            ElementTree.SubElement(
                _case(suite, check, "anything", 0.0), "failure", message="nothing to measure"
            )
    if report.unready:
        number = str(len(report.unready))
        suite = ElementTree.SubElement(root, "testsuite", name="ready", tests=number, failures=number)
        for reason in report.unready:
            case = ElementTree.SubElement(suite, "testcase", classname="ready", name=reason.partition(":")[0])
            ElementTree.SubElement(case, "failure", message=reason)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def title(result: judge.Result) -> str:
    """One probe in a line: who, to what, how."""
    probe = result.probe
    host = f"[{probe.target.host}]" if ":" in probe.target.host else probe.target.host
    port = "" if probe.protocol == "ICMP" else f":{probe.target.port}"
    return f"{probe.sender} to {probe.target.shown}, {host}{port} {probe.protocol} IPv{probe.target.family}"


def _case(
    suite: ElementTree.Element, check: scenarios.Check, name: str, seconds: float
) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=check.name, name=name, time=f"{seconds:.4f}")


def probe_document(result: judge.Result) -> dict[str, Any]:
    """One result as JSON has it."""
    probe = result.probe
    return {
        "check": probe.check.name,
        "from": str(probe.sender),
        "to": probe.target.shown,
        "host": probe.target.host,
        "port": probe.target.port,
        "protocol": probe.protocol,
        "family": f"IPv{probe.target.family}",
        "where": probe.where,
        "ok": result.ok,
        "expected": result.expected,
        "measured": result.measured,
        "model": probe.verdict.outcome,
        "why": list(map(str, probe.verdict.reasons)),
        "wrong": result.wrong,
        "cause": result.cause,
        "attempts": result.attempts,
        "answers": [
            {key: value for key, value in answer._asdict().items() if value} for answer in result.answers
        ],
    }
