"""A report as people read it: who, to what, expected, measured, why. Pure: text out of values."""

from collections.abc import Callable, Iterator, Sequence

from netemu.cli import screen
from netemu.scenario import judge, report, scenarios

Paint = Callable[[str, str], str]
_HEAD = ("WHO", "TO WHAT", "MEASURED", "WHY")
_INDENT = 5
_LONGEST_WHY = 90


def lines(found: report.Report, paint: Paint, *, verbose: bool = False, width: int = 0) -> Iterator[str]:
    """The whole report: for each check what is expected, and a row for each sender and kind of target.

    `verbose`: a row for each single target. What failed always has rows of its own. `width`: of the terminal.
    """
    for number, check in enumerate(found.scenario.checks, 1):
        results = [result for result in found.results if result.probe.check == check]
        yield from _check(check, number, results, paint, verbose=verbose, width=width)
    if found.unready:
        yield paint("bad", "NOT READY")
        yield from (f"{' ' * _INDENT}{reason}" for reason in found.unready)
        yield ""
    yield _summary(found, paint)


def _check(
    check: scenarios.Check,
    number: int,
    results: Sequence[judge.Result],
    paint: Paint,
    *,
    verbose: bool,
    width: int,
) -> Iterator[str]:
    failed = [result for result in results if not result.ok]
    mark = paint("bad", "FAIL") if failed or not results else paint("good", "ok  ")
    yield f"{mark} {paint('head', f'{number}. {check.name}')}"
    if not results:
        yield f"{' ' * _INDENT}nothing to measure: no such pair of sender and target ({check.defined})"
    else:
        held = f"{len(results) - len(failed)} of {len(results)} flows hold"
        expected = " or ".join(dict.fromkeys(result.expected for result in results))
        yield f"{' ' * _INDENT}expected: {expected}  {paint('faint', f'({_scope(check)}; {held})')}"
        rows = [_row(group, paint) for group in _groups(results, verbose=verbose)]
        head = list(_HEAD)
        reasons = {row[-1] for row in rows}
        if len(reasons) == 1:
            if because := reasons.pop():
                yield f"{' ' * _INDENT}because:  {because}"
            head, rows = head[:-1], [row[:-1] for row in rows]
        head = [paint("faint", title) for title in head]
        yield from screen.table([head, *rows], indent=_INDENT, width=width)
    for wrong, cause in dict.fromkeys((result.wrong, result.cause) for result in failed):
        yield f"{' ' * _INDENT}{paint('bad', 'why it failed:')} {wrong}"
        yield f"{' ' * _INDENT}{paint('warn', 'likely cause: ')} {cause}"
    yield ""


def _scope(check: scenarios.Check) -> str:
    families = " ".join(name for name, family in scenarios.FAMILIES.items() if family in check.families)
    return f"{' '.join(check.protocols)}, {families}"


def _groups(results: Sequence[judge.Result], *, verbose: bool) -> list[list[judge.Result]]:
    """Results of one row: they differ in family, protocol and time, and in the target if it held."""
    groups: dict[tuple[str, ...], list[judge.Result]] = {}
    for result in results:
        target = result.probe.target
        single = verbose or not result.ok
        key = (str(result.probe.sender), target.shown if single else target.group, result.wrong)
        groups.setdefault(key, []).append(result)
    return list(groups.values())


def _row(group: Sequence[judge.Result], paint: Paint) -> list[str]:
    first = group[0]
    party = first.probe.sender.party
    who = f"{first.probe.sender} on {party.node}" if party.kind == "pod" else str(first.probe.sender)
    style = "good" if first.ok else "bad"
    return [who, _target(group), paint(style, _measured(group)), _why(group)]


def _target(group: Sequence[judge.Result]) -> str:
    targets = list(dict.fromkeys(result.probe.target.shown for result in group))
    ports = sorted({result.probe.target.port for result in group})
    if len(targets) > 1:
        text = f"{group[0].probe.target.group} ({len(targets)})"
    else:
        owner = group[0].probe.target.owner
        on = f" on {owner.node}" if owner is not None and owner.kind == "pod" and owner.node else ""
        text = f"{targets[0]}{on}"
    return f"{text} :{','.join(map(str, ports))}"


def _measured(group: Sequence[judge.Result]) -> str:
    """What all of a row measured: how many flows, whom the server saw, the median time."""
    first = group[0]
    texts = list(dict.fromkeys(result.measured for result in group))
    seen = list(dict.fromkeys(a.seen for result in group for a in result.answers if a.translated))
    if first.ok and seen and all(any(a.translated for a in result.answers) for result in group):
        text = f"ok, seen as {', '.join(seen[:2])}{', ...' if len(seen) > 2 else ''}"
    elif first.ok and len(texts) > 1:
        text = "ok, all answer" if first.probe.check.spread else "ok"
    else:
        text = texts[0]
    times = (
        f" ×{len(group)}" if len(group) > 1 else f" ({first.probe.protocol} IPv{first.probe.target.family})"
    )
    seconds = sorted(answer.total_s for result in group for answer in result.answers)
    late = max(result.attempts for result in group)
    again = f", held at attempt {late}" if first.ok and late > 1 else ""
    return f"{text}{times}, {seconds[len(seconds) // 2] * 1000:.1f} ms{again}"


def _why(group: Sequence[judge.Result]) -> str:
    """The reasons that all of a row share, as many of the last ones as there is room for; else one's."""
    shared = [
        str(reason)
        for reason in group[0].probe.verdict.reasons
        if all(reason in r.probe.verdict.reasons for r in group)
    ]
    if not shared:  # each has its own: the first one stands for them
        shared = [str(reason) for reason in group[0].probe.verdict.reasons[-1:]]
    while len(shared) > 1 and len("; ".join(shared)) > _LONGEST_WHY:
        shared.pop(0)
    return "; ".join(shared)


def _summary(found: report.Report, paint: Paint) -> str:
    failed = sum(not result.ok for result in found.results) + len(found.empty) + len(found.unready)
    requests = sum(len(result.answers) for result in found.results)
    steps = ", ".join(f"{step} {spent:.2f} s" for step, spent in found.seconds)
    verdict = paint("bad", f"{failed} FAILED") if failed else paint("good", "all hold")
    counts = f"{len(found.scenario.checks)} checks, {len(found.results)} flows, {requests} requests"
    return f"{found.scenario.name}: {verdict}  ({counts}; {steps})"
