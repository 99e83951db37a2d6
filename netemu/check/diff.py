"""The flows that a change of manifests opens or closes, by the model. Pure.

Two imagined worlds are asked the same questions; ends are compared by name, as addresses are made up.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from netemu.check import imagine, static, telling
from netemu.model import expect, flows, verdicts, worlds

ABSENT = "absent"
_BEYOND = (443, "TCP")  # what leaves the cluster is asked on the port that most of it is for


class End(NamedTuple):
    """A flow by the names of its ends: workloads where pods are of one."""

    sender: str
    target: str
    port: int
    protocol: str


class Change(NamedTuple):
    """A flow whose verdict is another now. `before` and `after` are words or "absent"; `because` is now."""

    end: End
    before: str
    after: str
    because: str
    families: tuple[int, ...] = (4, 6)

    @property
    def opened(self) -> bool:
        return self.after == "ok"


def diff(old: imagine.Imagined, new: imagine.Imagined) -> tuple[Change, ...]:
    """What the change opens, then what it closes. Of flows that end otherwise than before, but not in `ok`,
    before or now, nothing is said."""
    before, after = _answers(old), _answers(new)
    found: dict[tuple[End, str, str], Change] = {}
    for key in sorted(before.keys() | after.keys()):
        end, family = key
        was, now = before.get(key), after.get(key)
        words = _word(was), _word(now)
        if words[0] == words[1] or "ok" not in words:
            continue
        told = now or was
        change = Change(end, *words, _decisive(told) if told is not None else "", (family,))
        known = found.get((end, *words))
        found[end, *words] = known._replace(families=(*known.families, family)) if known else change
    return tuple(sorted(found.values(), key=lambda change: (not change.opened, change.end)))


def _word(verdict: verdicts.Verdict | None) -> str:
    if verdict is None:
        return ABSENT
    return " or ".join(sorted(word or "undecided" for word in verdict.words))


def _decisive(verdict: verdicts.Verdict) -> str:
    """The last step that policy took, else the last of all."""
    steps = [r for r in verdict.reasons if r.kind in ("policy", "cluster-policy")] or verdict.reasons
    return str(steps[-1]) if steps else ""


def _answers(imagined: imagine.Imagined) -> dict[tuple[End, int], verdicts.Verdict]:
    """A verdict for each pair of workloads, port and family: the worst of its pods'."""
    world = imagined.world
    found: dict[tuple[End, int], verdicts.Verdict] = {}
    for flow, shown in (*static.every(world), *_leaving(world)):
        owner = world.owner(flow.host)
        target = _name(imagined, owner) if owner is not None and owner.kind == "pod" else shown
        key = (End(_name(imagined, flow.source), target, flow.port, flow.protocol), flow.family)
        verdict = expect.expect(world, flow)
        if key not in found or found[key].words == {"ok"}:
            found[key] = verdict
    return found


def _leaving(world: worlds.World) -> Iterator[tuple[flows.Flow, str]]:
    """From each pod to what is not among the manifests: the DNS server, the API server, the world outside."""
    for pod in world.pods:
        if pod.metadata.namespace in static.SYSTEM or pod.spec.hostNetwork:
            continue
        source = worlds.pod_party(pod)
        for shown, name, namespace in (
            ("cluster DNS", "kube-dns", "kube-system"),
            ("the API server", "kubernetes", "default"),
        ):
            service = world.service(name, namespace)
            for port in service.spec.ports if service is not None else ():
                if port.name != "metrics" and service is not None:
                    host = service.spec.clusterIPs[0]
                    yield (
                        flows.Flow(source, host, port.port, port.protocol or "TCP", 6 if ":" in host else 4),
                        shown,
                    )
        for address in world.outside.addresses:
            yield flows.Flow(source, address, *_BEYOND, 6 if ":" in address else 4), "the world outside"


def _name(imagined: imagine.Imagined, party: worlds.Party) -> str:
    if party.kind != "pod":
        return party.name
    workload = imagined.workloads.get((party.namespace, party.name))
    return f"{party.namespace}/{workload.partition('/')[2]}" if workload else telling.party(party)


def lines(changes: tuple[Change, ...]) -> Iterator[str]:
    """For people: what is opened, what is closed, grouped by sender."""
    for opened, title in ((True, "opened"), (False, "closed")):
        group = [change for change in changes if change.opened == opened]
        if group:
            yield f"{title}: {len(group)}"
        for sender in dict.fromkeys(change.end.sender for change in group):
            yield f"  {sender}"
            yield from (f"    {_line(change)}" for change in group if change.end.sender == sender)
    if not changes:
        yield "no flow is opened or closed"


def _line(change: Change) -> str:
    end = change.end
    families = (
        ""
        if len(change.families) > 1 or ABSENT in (change.before, change.after)
        else f" IPv{change.families[0]}"
    )
    was = f"was {change.before}" if change.opened else f"now {change.after}"
    return f"-> {end.target} {end.protocol.lower()}/{end.port}{families} ({was}): {change.because}"


def document(changes: tuple[Change, ...]) -> list[dict[str, Any]]:
    """As JSON has it."""
    return [
        {
            "from": change.end.sender,
            "to": change.end.target,
            "port": change.end.port,
            "protocol": change.end.protocol,
            "families": [f"IPv{family}" for family in change.families],
            "before": change.before,
            "after": change.after,
            "opened": change.opened,
            "because": change.because,
        }
        for change in changes
    ]
