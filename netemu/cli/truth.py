"""Truth tables: who reaches whom, measured beside expected, as people read them. Pure: text out of values."""

from collections.abc import Callable, Iterator, Sequence

from netemu.cli import screen
from netemu.verify import judge, report

Paint = Callable[[str, str], str]
SYMBOLS = {
    "ok": "✓",
    "dropped": "·",
    "refused": "x",
    "unreachable": "-",
    "no-such-name": "?",
    "no-source": "!",
}
LEGEND = (
    "✓ reached   · dropped   x refused   - unreachable   ? no such name   measured≠expected, IPv4 then IPv6"
)
_GAP = 2

Cells = dict[tuple[str, str], str]


def matrices(results: Sequence[judge.Result], paint: Paint, *, width: int = 0) -> Iterator[str]:
    """A row for each sender, a column for each target and port; protocols that are alike share a table."""
    by_protocol: dict[str, list[judge.Result]] = {}
    for result in results:
        by_protocol.setdefault(result.case.flow.protocol, []).append(result)
    alike: dict[tuple[tuple[tuple[str, str], str], ...], list[str]] = {}
    for protocol, found in by_protocol.items():
        alike.setdefault(tuple(_cells(found, paint).items()), []).append(protocol)
    for cells, protocols in alike.items():
        yield paint("head", " ".join(protocols))
        yield from _table(dict(cells), paint, width)
        yield ""
    yield paint("faint", LEGEND)


def differences(results: Sequence[judge.Result], paint: Paint) -> Iterator[str]:
    """Each difference: what was measured, what the model says and why, and where to look first."""
    for difference in report.differences(results):
        first = difference.first
        yield f"{first.case.flow.source} → {first.case.target}  {paint('faint', difference.how)}"
        yield f"  measured  {paint('bad', first.measured)}"
        yield f"  model     {first.expected}"
        for reason in first.verdict.reasons:
            yield f"            {paint('faint', 'because')} {reason}"
        yield f"  likely    {paint('warn', first.cause)}"
        yield ""
    if common := report.common(results):
        yield paint("warn", f"in common: {common}")


def summary(results: Sequence[judge.Result], paint: Paint) -> str:
    """One line: how many flows agree, differ, and are left open by the model."""
    counted = report.counts(results)
    states = {state: sum(n for (_, s), n in counted.items() if s == state) for state in ("differ", "open")}
    if states["differ"]:
        verdict = paint("bad", f"{states['differ']} of {len(results)} flows differ from the model")
    else:
        verdict = paint("good", f"all {len(results)} flows agree with the model")
    left = f", of which it leaves {states['open']} open" if states["open"] else ""
    return f"{verdict}{left}"


def shares(results: Sequence[judge.Result], paint: Paint) -> str:
    """One line: of how many Service ports every endpoint answered, and how many connections showed it."""
    asked = sum(result.attempts for result in results)
    silent = sum(not result.ok for result in results)
    if silent:
        return paint("bad", f"{silent} of {len(results)} shared Service ports do not reach every endpoint")
    return paint("good", f"every endpoint of {len(results)} shared Service ports answers") + (
        f" ({asked} connections)"
    )


def _cells(results: Sequence[judge.Result], paint: Paint) -> Cells:
    """(sender, target and port) -> what stands in the table."""
    groups: dict[tuple[str, str], list[judge.Result]] = {}
    for result in results:
        flow = result.case.flow
        column = f"{result.case.target}{f':{flow.port}' if flow.port else ''}"
        groups.setdefault((str(flow.source), column), []).append(result)
    return {key: _cell(group, paint) for key, group in groups.items()}


def _cell(group: Sequence[judge.Result], paint: Paint) -> str:
    texts = [_text(result, paint) for result in sorted(group, key=lambda r: r.case.flow.family)]
    return texts[0] if len(set(texts)) == 1 else "".join(texts)


def _text(result: judge.Result, paint: Paint) -> str:
    measured = SYMBOLS[judge.word(result.answer)]
    if result.ok:
        return paint("good", measured) if measured == SYMBOLS["ok"] else measured
    expected = "".join(SYMBOLS.get(word, "~") for word in sorted(result.verdict.words))
    # The very same symbol, but another endpoint or source than the model allows.
    return paint("bad", f"{measured}≠{expected}")


def _table(cells: Cells, paint: Paint, width: int) -> Iterator[str]:
    rows = list(dict.fromkeys(sender for sender, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    first = max(map(len, rows))
    for part in _parts(columns, width - first if width else 0):
        head = ["", *(paint("faint", column) for column in part)]
        body = [[row, *(cells.get((row, column), "") for column in part)] for row in rows]
        yield from screen.table([head, *(row for row in body if any(row[1:]))], gap=_GAP, indent=2)


def _parts(columns: Sequence[str], room: int) -> Iterator[list[str]]:
    """As many columns at a time as fit beside the senders."""
    part: list[str] = []
    for column in columns:
        if part and room and sum(len(c) + _GAP for c in (*part, column)) > room - _GAP:
            yield part
            part = []
        part.append(column)
    yield part
