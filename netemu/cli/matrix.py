"""A report as people read it: who, to what, expected, measured, why. Pure: text out of values."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from netemu.cli import screen
from netemu.scenario import judge, report, scenarios

Paint = Callable[[str, str], str]
_HEAD = ("WHO", "TO WHAT", "EXPECTED", "MEASURED", "WHY")


def lines(found: report.Report, paint: Paint, *, verbose: bool = False) -> Iterator[str]:
    """The whole report. Checks that hold are one line each, with all their rows if `verbose`."""
    for number, check in enumerate(found.scenario.checks, 1):
        results = [result for result in found.results if result.probe.check == check]
        yield from _check(check, number, results, paint, verbose=verbose)
    if found.unready:
        yield paint("bad", "NOT READY")
        yield from (f"   {reason}" for reason in found.unready)
    yield ""
    yield _summary(found, paint)


def _check(
    check: scenarios.Check, number: int, results: Sequence[judge.Result], paint: Paint, *, verbose: bool
) -> Iterator[str]:
    failed = [result for result in results if not result.ok]
    mark = paint("bad", "FAIL") if failed or not results else paint("good", "ok  ")
    held = f"{len(results) - len(failed)} of {len(results)}" if failed else f"{len(results)}"
    held += " flow" if len(results) == 1 else " flows"
    yield f"{mark} {number:2} {paint('head', check.name)}  {paint('faint', _scope(check))}  {held}"
    if not results:
        yield f"        nothing to measure: no such pair of sender and target ({check.defined})"
    shown = results if verbose else failed
    if not shown:
        return
    rows = [_row(group, paint) for group in _groups(shown)]
    head = [paint("faint", title) for title in _HEAD]
    yield from screen.table([head, *rows], indent=8)
    for wrong, cause in dict.fromkeys((result.wrong, result.cause) for result in failed):
        yield f"        {paint('bad', 'why it failed:')} {wrong}"
        yield f"        {paint('warn', 'likely cause: ')} {cause}"


def _scope(check: scenarios.Check) -> str:
    families = " ".join(name for name, family in scenarios.FAMILIES.items() if family in check.families)
    return f"{' '.join(check.protocols)} · {families}"


def _groups(results: Iterable[judge.Result]) -> list[list[judge.Result]]:
    """Results that differ only in address family, protocol and time are one row."""
    groups: dict[tuple[str, ...], list[judge.Result]] = {}
    for result in results:
        probe = result.probe
        key = (str(probe.sender), probe.target.shown, str(probe.target.port), result.wrong, probe.where)
        groups.setdefault(key, []).append(result)
    return list(groups.values())


def _row(group: Sequence[judge.Result], paint: Paint) -> list[str]:
    first = group[0]
    probe = first.probe
    node = probe.sender.party.node
    who = f"{probe.sender} on {node}" if node and probe.sender.party.kind == "pod" else str(probe.sender)
    owner = probe.target.owner
    on = f" on {owner.node}" if owner is not None and owner.kind == "pod" and owner.node else ""
    seconds = sorted(answer.total_s for result in group for answer in result.answers)
    times = f" ×{len(group)}" if len(group) > 1 else ""
    measured = f"{_measured(group)}{times}, {seconds[len(seconds) // 2] * 1000:.1f} ms"
    if len(group) == 1:
        measured += f" ({probe.protocol} IPv{probe.target.family})"
    return [
        who,
        f"{probe.target.shown}{on} :{probe.target.port}",
        first.expected,
        paint("good" if first.ok else "bad", measured),
        first.why.rpartition("; ")[2] if len(first.why) > 70 else first.why,
    ]


def _measured(group: Sequence[judge.Result]) -> str:
    """What all of a row measured; addresses of both families side by side."""
    distinct = list(dict.fromkeys(result.measured for result in group))
    if len(distinct) == 1:
        return distinct[0]
    prefix = "ok, seen as "
    if all(text.startswith(prefix) for text in distinct):
        return prefix + " and ".join(text.removeprefix(prefix) for text in distinct[:2])
    return distinct[0]


def _summary(found: report.Report, paint: Paint) -> str:
    failed = sum(not result.ok for result in found.results) + len(found.empty) + len(found.unready)
    requests = sum(len(result.answers) for result in found.results)
    steps = ", ".join(f"{step} {spent:.2f} s" for step, spent in found.seconds)
    verdict = paint("bad", f"{failed} FAILED") if failed else paint("good", "all hold")
    counts = f"{len(found.scenario.checks)} checks, {len(found.results)} flows, {requests} requests"
    return f"{found.scenario.name}: {verdict}  ({counts}; {steps})"
