"""A static check's outcome for people, as JSON and as JUnit. Pure."""

import json
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

from netemu.check import expectations, static, telling

_OTHERS = "nothing else may"


def lines(report: static.Report) -> Iterator[tuple[bool, str]]:
    """Whether it holds, and a line: one for each expectation, one for each flow that is not as wanted."""
    for expectation, rows in _by_expectation(report):
        bad = [row for row in rows if not row.ok]
        text = expectation.text if expectation else f"{_OTHERS} ({report.others} other flows)"
        yield (
            not bad,
            f"{'FAIL' if bad else 'ok  '} {text}" + (f" ({len(rows)} flows)" if expectation else ""),
        )
        if expectation and bad:
            yield False, f"     {expectation.defined}"
        for row in _distinct(bad):
            yield False, f"     {title(row)}: {_headline(row)}"
            yield from ((False, f"       note: {reason}") for reason in row.verdict.advice)
    bad = [row for row in report.rows if not row.ok]
    asked = sum(row.by is not None for row in report.rows) + report.others
    yield not bad, f"{asked - len(bad)} of {asked} flows are as wanted"


def title(row: static.Row) -> str:
    """Who to whom."""
    flow = row.flow
    return f"{telling.party(flow.source)} -> {row.shown} {flow.protocol.lower()}/{flow.port} IPv{flow.family}"


def _headline(row: static.Row) -> str:
    return next(telling.lines(telling.Answer(row.flow, row.shown, row.verdict)))


def _distinct(rows: Sequence[static.Row]) -> Iterator[static.Row]:
    """One of the rows that differ in the family alone."""
    seen = set()
    for row in rows:
        key = (row.flow.source.name, row.flow.source.namespace, row.shown, row.flow.port, row.flow.protocol)
        if key not in seen:
            seen.add(key)
            yield row


def _by_expectation(
    report: static.Report,
) -> Iterator[tuple[expectations.Expectation | None, list[static.Row]]]:
    for expectation in dict.fromkeys(row.by for row in report.rows if row.by is not None):
        yield expectation, [row for row in report.rows if row.by == expectation]
    if report.others:
        yield None, [row for row in report.rows if row.by is None]


def to_json(report: static.Report) -> str:
    """One object; `flows` has each flow that an expectation speaks of, and each other that may not be."""
    document = {
        "ok": report.ok,
        "others": report.others,
        "flows": [
            {
                **telling.document(telling.Answer(row.flow, row.shown, row.verdict)),
                "ok": row.ok,
                "wanted": row.wanted,
                "expectation": row.by.text if row.by else _OTHERS,
                "defined": row.by.defined if row.by else "",
            }
            for row in report.rows
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def to_junit(report: static.Report) -> str:
    """A test suite an expectation, a test case a flow."""
    root = ElementTree.Element("testsuites", name="netemu check")
    for expectation, rows in _by_expectation(report):
        name = expectation.text if expectation else _OTHERS
        failures = sum(not row.ok for row in rows)
        tests = len(rows) if expectation else report.others
        suite = ElementTree.SubElement(root, "testsuite", name=name, tests=str(tests), failures=str(failures))
        for row in rows:
            case = ElementTree.SubElement(suite, "testcase", classname=name, name=title(row))
            if not row.ok:
                failure = ElementTree.SubElement(case, "failure", message=_headline(row))
                failure.text = "\n".join(telling.lines(telling.Answer(row.flow, row.shown, row.verdict)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
