"""`netemu probe`: measure who reaches whom in a lab that is up."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from netemu.cli import options, screen, verify

if TYPE_CHECKING:
    from netemu.scenario import places, scenarios

_EXAMPLE = """
netemu probe
netemu probe --protocol TCP --diff
netemu probe client web:80
netemu probe 'pod client' 'service web'
netemu probe 'pods app=web' 'pods app=web' --protocol UDP --family IPv6
netemu probe outside 'node worker-1' --port 30080
netemu probe 'pod client' 'address 203.0.113.10' --icmp
"""


# Seconds in which what the model says and what is measured may differ: objects take effect eventually.
SETTLE = 2.0
_SYSTEM = "kube-system"


@options.command("probe", example=_EXAMPLE)
@click.argument("sender", metavar="FROM", required=False)
@click.argument("target", metavar="TO", required=False)
@click.option("--port", "-p", type=click.IntRange(1, 65535), help="The port, if TO does not name its own.")
@click.option(
    "--protocol",
    type=click.Choice(["TCP", "UDP", "SCTP"]),
    multiple=True,
    help="Default: TCP; in the truth table, all.",
)
@click.option("--family", type=click.Choice(["IPv4", "IPv6"]), multiple=True, help="Default: both.")
@click.option(
    "--via",
    type=click.Choice(["address", "name", "node-port"]),
    multiple=True,
    help="How to reach a Service.",
)
@click.option("--icmp", is_flag=True, help="Send ICMP echo requests instead.")
@click.option("--connect-only", is_flag=True, help="Only open the connection; ask nothing.")
@click.option("--all", "-A", "everything", is_flag=True, help="The truth table with kube-system, too.")
@click.option("--diff", is_flag=True, help="Only what differs from the model.")
@click.option("--junit", metavar="FILE", help="Write a JUnit report ('-': stdout).")
@click.option("--timeout", default=1.5, show_default=True, metavar="SECONDS", help="For all flows together.")
@options.json
@options.quiet
@options.lab
def command(
    *,
    sender: str | None,
    target: str | None,
    port: int | None,
    protocol: tuple[str, ...],
    family: tuple[str, ...],
    via: tuple[str, ...],
    icmp: bool,
    connect_only: bool,
    everything: bool,
    diff: bool,
    junit: str | None,
    timeout: float,
    as_json: bool,
    quiet: bool,
    name: str,
) -> int:
    """Measure flows FROM some places TO others, from inside their namespaces, and compare with the model.

    Places: `pod NAME [in NS]`, `pods KEY=VALUE [in NS]`, `container C of pod NAME`, `node NAME`, `nodes`,
    `outside`, and as TO also `service NAME [in NS]`, `localhost`, `address IP`, `name DNS-NAME`; or single
    words as for `netemu explain`.
    Without arguments: the truth table of every pod to every pod and Service, by address and by name, in one
    round. Exit code 1 if the network does not do what the model says.
    """
    from netemu.lab import config
    from netemu.scenario import judge, report, scenarios

    verify.one_report(junit, as_json=as_json)
    if not (sender or target or port or via or icmp or connect_only):
        return _truth(
            name,
            protocol,
            family,
            everything=everything,
            diff=diff,
            junit=junit,
            as_json=as_json,
            quiet=quiet,
        )
    check = _check(
        sender, target, port, via, protocols=protocol, families=family, icmp=icmp, identify=not connect_only
    )
    with screen.Progress(quiet=quiet) as progress:
        results: tuple[judge.Result, ...] = _measure(
            name, check, (sender or "", target or ""), timeout, icmp=icmp, progress=progress
        )
    if junit:
        checks = tuple(dict.fromkeys(result.probe.check for result in results))
        asked = scenarios.Scenario("probe", "", check.defined, config.default(), (), (), timeout, checks)
        verify.write(junit, report.to_junit(report.Report(asked, name, results)))
    shown = tuple(result for result in results if not (diff and result.ok))
    if as_json:
        click.echo(json.dumps([report.probe_document(result) for result in shown], indent=2))
    elif junit != "-":
        for line in (
            _lines(shown) if shown or not results else [f"all {len(results)} flows agree with the model"]
        ):
            click.echo(line)
    return 0 if results and all(result.ok for result in results) else 1


def _check(
    sender: str | None,
    target: str | None,
    port: int | None,
    via: tuple[str, ...],
    *,
    protocols: tuple[str, ...],
    families: tuple[str, ...],
    icmp: bool,
    identify: bool,
) -> "scenarios.Check":
    """What is asked for, as a scenario would ask. Rejected when it is not clear, or not possible."""
    from netemu.base import errors
    from netemu.scenario import scenarios

    sctp = "SCTP" in protocols
    if sctp and ("name" in via or (target or "").startswith("name ")):
        raise errors.Rejected("SCTP is asked by address alone", hint="leave out the name, or --protocol SCTP")
    return scenarios.Check(
        name="probe",
        senders=_place(sender or ""),
        targets=_place(target or ""),
        port=port,
        protocols=protocols or ("TCP",),
        families=tuple(scenarios.FAMILIES[one] for one in families or scenarios.FAMILIES),
        via=via or (("address",) if target or sctp else ("address", "name")),
        where=("", "same-pod", "same-node", "other-node") if sender and target else (),
        expect="",
        source="any",
        spread=False,
        identify=identify,
        within=0.0,
        defined="netemu probe",
    )


def _truth(
    name: str,
    protocols: tuple[str, ...],
    families: tuple[str, ...],
    *,
    everything: bool,
    diff: bool,
    junit: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Every pod to every pod and Service, in one round."""
    from netemu.base import errors
    from netemu.cli import truth
    from netemu.verify import cases, report

    def wanted(case: Any) -> bool:
        own = _SYSTEM in (case.flow.source.namespace, *case.target.replace("/", " ").split())
        return (
            case.flow.source.kind == "pod"
            and case.kind in ("pod", "service", "name")
            and case.flow.port != cases.MISSING_PORT
            and (everything or not own)
            and (not protocols or case.flow.protocol in protocols)
            and (not families or f"IPv{case.flow.family}" in families)
        )

    with screen.Progress(quiet=quiet) as progress:
        results, _, seconds = verify.measure(name, wanted, SETTLE, progress)
    if not results:
        raise errors.Rejected(
            "nothing to measure: no pod that runs has such a port", hint="netemu get pods -A"
        )
    verify.write_junit(junit, "probe", results)
    shown = [result for result in results if not (diff and result.ok)]
    paint = screen.painter(sys.stdout)
    if as_json:
        click.echo(json.dumps(report.document(shown, lab=name, seconds=seconds), indent=2))
        return 0 if all(result.ok for result in results) else 1
    if junit == "-":
        return 0 if all(result.ok for result in results) else 1
    lines = truth.differences(shown, paint) if diff else truth.matrices(shown, paint, width=screen.columns())
    for line in (*lines, f"{truth.summary(results, paint)} ({seconds:.2f} s)"):
        click.echo(line)
    return 0 if all(result.ok for result in results) else 1


def _place(text: str) -> "tuple[places.Place, ...]":
    """A scenario's place. None if it is one word, whose meaning depends on the lab."""
    from netemu.base import errors
    from netemu.scenario import places

    try:
        return (places.parse(text),) if text else ()
    except ValueError as error:
        if " " not in text:
            return ()
        raise errors.Rejected(str(error), hint="or single words: netemu probe client web:80") from error


def _meant(check: "scenarios.Check", sender: str, target: str, world: Any) -> "scenarios.Check":
    """With what single words mean, which are those of `netemu explain`. Rejected when it is nothing."""
    from netemu.base import errors
    from netemu.check import places as finding
    from netemu.scenario import places

    finder = finding.Finder(world, "default")
    home = world.outside
    if sender and not check.senders:
        parties = finder.sources(sender)
        home = parties[0]
        if any(party.kind == "outside" and party.name != "outside" for party in parties):
            raise errors.Rejected(f"nobody here has the address {sender}", hint="'outside' is a place")
        check = check._replace(senders=tuple(places.Place(p.kind, p.name, p.namespace) for p in parties))
    if target and not check.targets:
        found = finder.targets(target, home)
        check = check._replace(targets=tuple(one.place for one in found), port=check.port or found[0].port)
    return check


def _asked(
    check: "scenarios.Check", sender: str, target: str, world: Any, *, icmp: bool
) -> "scenarios.Check":
    """The check of this world. Rejected when it does not say which port."""
    from netemu.base import errors

    check = _filled(_meant(check, sender, target, world), world)
    if icmp:
        return check._replace(port=check.port or 7)
    unclear = [place for place in check.targets if place.kind not in ("service", "pod", "pods")]
    if unclear and not check.port:
        hint = "only pods and Services name their own"
        raise errors.Rejected(f"which port of {unclear[0]}? say --port", hint=hint)
    return check


@options.blocking
async def _measure(
    lab_name: str, check: Any, ends: tuple[str, str], timeout: float, *, icmp: bool, progress: Any
) -> Any:
    import asyncio

    from netemu.base import clock
    from netemu.scenario import measuring, run, watching
    from netemu.verify import measure

    lab = options.open_lab(lab_name)
    loop = asyncio.get_running_loop()
    async with (
        options.client(lab) as client,
        watching.watching(client, clock.SystemClock()) as watcher,
        measure.answering_outside(lab),
    ):
        end = loop.time() + SETTLE
        while True:
            world = run.world_of(watcher.snapshot(), lab)
            checks = [_asked(check, *ends, world, icmp=icmp)]
            if icmp:
                return await measuring.echo(checks, lab, world, deadline=timeout)
            results, _ = await measuring.measure(checks, lab, world, progress=progress, deadline=timeout)
            if all(result.ok for result in results) or loop.time() > end:
                return results


def _filled(check: Any, world: Any) -> Any:
    """Who or what was not named is everybody: every running pod, every Service."""
    from netemu.model import worlds
    from netemu.scenario import places

    pods = (pod.metadata for pod in world.pods if worlds.is_running(pod))
    senders = check.senders or tuple(places.Place("pod", meta.name, meta.namespace) for meta in pods)
    services = (service.metadata for service in world.services)
    targets = check.targets or tuple(places.Place("service", meta.name, meta.namespace) for meta in services)
    return check._replace(senders=senders, targets=targets)


def _lines(results: Any) -> list[str]:
    from netemu.scenario import report

    paint = screen.painter(sys.stdout)
    if not results:
        return ["nothing to measure: no such pair of sender and target, or no port (--port)"]
    rows = []
    for result in results:
        spent = max((answer.total_s for answer in result.answers), default=0.0)
        said = result.answers[0].endpoint if result.answers else ""
        took = f", {spent * 1000:.1f} ms" if spent else ""  # by hand many are asked at once
        measured = f"{result.measured}{took}" + (f", {said} answered" if said else "")
        who, _, what = report.title(result).partition(" to ")
        host = result.probe.target.host
        what = what.replace(f" {host}, {host}:", f" {host}:")  # "name web, web:80"
        verdict = result.probe.verdict.outcome or "?"
        rows.append(
            [who, what, verdict, paint("good" if result.ok else "bad", measured), result.wrong or result.why]
        )
    titles = ["WHO", "TO WHAT", "MODEL", "MEASURED", "WHY"]
    if not any(row[-1] for row in rows):
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    head = [paint("faint", title) for title in titles]
    return screen.folded([head, *rows], width=screen.columns())
