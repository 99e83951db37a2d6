"""Truth tables: who reaches whom, measured beside expected, as people read them. Pure: text out of values."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

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
LEGEND = "✓ reached   · dropped   x refused   - unreachable   ? no such name   measured≠expected   IPv4/IPv6"
_GAP, _INDENT = 2, 2

Cells = dict[tuple[str, str], str]


def matrices(results: Sequence[judge.Result], paint: Paint, *, width: int = 0) -> Iterator[str]:
    """A row for each sender, a column for each target and port; protocols that are alike share a table.

    Where a table is wider than `width` (0: anything will do) columns are numbered, and named below.
    """
    by_protocol: dict[str, list[judge.Result]] = {}
    for result in results:
        by_protocol.setdefault(result.case.flow.protocol, []).append(result)
    alike: dict[tuple[tuple[tuple[str, str], str], ...], list[str]] = {}
    for protocol, found in by_protocol.items():
        alike.setdefault(tuple(_cells(found, paint).items()), []).append(protocol)
    tables = {" ".join(protocols): dict(cells) for cells, protocols in alike.items()}
    numbers = _numbers(tables.values(), width)
    for title, cells in tables.items():
        yield paint("head", title)
        yield from _table(cells, numbers, paint, width)
        yield ""
    if numbers:
        named = [f"{paint('faint', number)} {column}" for column, number in numbers.items()]
        yield from _in_columns(named, width)
        yield ""
    yield from _wrapped(LEGEND, paint, width)


def differences(results: Sequence[judge.Result], paint: Paint) -> Iterator[str]:
    """Each difference: what was measured, what the model says and why, and where to look first."""
    for difference in report.differences(results):
        first = difference.first
        yield f"{first.case.flow.source} → {first.case.target}  {paint('faint', difference.how)}"
        # The model's own word, but not from whom it says, or with another sender's address.
        alike = judge.word(first.answer) in first.verdict.words
        yield f"  measured  {paint('bad', first.wrong if alike else first.measured)}"
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
    return texts[0] if len(set(texts)) == 1 else "/".join(texts)


def _text(result: judge.Result, paint: Paint) -> str:
    measured = SYMBOLS[judge.word(result.answer)]
    if result.ok:
        return paint("good", measured) if measured == SYMBOLS["ok"] else measured
    expected = "".join(SYMBOLS.get(word, "~") for word in sorted(result.verdict.words))
    # The very same symbol, but another endpoint or source than the model allows.
    return paint("bad", f"{measured}≠{expected}")


def _table(cells: Cells, numbers: Mapping[str, str], paint: Paint, width: int) -> Iterator[str]:
    """With the columns' names or, if they have any, their numbers; in parts where not even those fit."""
    rows = list(dict.fromkeys(sender for sender, _ in cells))
    room = width - _INDENT - max(map(len, rows))
    columns = _sized(cells, numbers)
    for part in _parts(columns, room if width else 0):
        head = ["", *(paint("faint", numbers.get(column, column)) for column in part)]
        body = [[row, *(cells.get((row, column), "") for column in part)] for row in rows]
        shown = (row for row in body if any(row[1:]))
        yield from screen.table([head, *shown], gap=_GAP, indent=_INDENT)


def _numbers(tables: Iterable[Cells], width: int) -> dict[str, str]:
    """The columns' numbers, alike in all tables; none if every table fits with its columns' names."""
    numbers: dict[str, str] = {}
    fits = True
    for cells in tables:
        first = max(len(sender) for sender, _ in cells)
        whole = _INDENT + first + sum(_GAP + size for size in _sized(cells, {}).values())
        fits = fits and (not width or whole <= width)
        for _, column in cells:
            numbers.setdefault(column, str(len(numbers) + 1))
    return {} if fits else numbers


def _sized(cells: Cells, numbers: Mapping[str, str]) -> dict[str, int]:
    """How wide each column is."""
    sizes = {column: len(numbers.get(column, column)) for _, column in cells}
    for (_, column), text in cells.items():
        sizes[column] = max(sizes[column], screen.visible(text))
    return sizes


def _parts(sizes: Mapping[str, int], room: int) -> Iterator[list[str]]:
    """As many columns at a time as fit beside the senders."""
    part: list[str] = []
    for column in sizes:
        if part and room and sum(_GAP + sizes[one] for one in (*part, column)) > room:
            yield part
            part = []
        part.append(column)
    yield part


def _in_columns(texts: Sequence[str], width: int) -> Iterator[str]:
    """Side by side as far as they fit, to be read downwards."""
    size = max(map(screen.visible, texts)) + _GAP
    lines = -(-len(texts) // max((width - _INDENT + _GAP) // size, 1))
    yield from screen.table([texts[line::lines] for line in range(lines)], gap=_GAP, indent=_INDENT)


def _wrapped(text: str, paint: Paint, width: int) -> Iterator[str]:
    """Broken between its parts, which are three spaces apart."""
    line = ""
    for part in text.split("   "):
        if line and width and len(line) + len(part) + 3 > width:
            yield paint("faint", line)
            line = ""
        line = f"{line}   {part}" if line else part
    yield paint("faint", line)
