"""Which tracked UDP flows go to backends that are no longer theirs. Pure; the kernel's table comes as values.

Only UDP: its flows never end while somebody sends, and would follow the old translation for ever. A flow that
was tracked before its Service was programmed counts, too: it is answered by the Service's own address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netemu.kernel import conntrack
from netemu.kubeproxy import ledger, plan, services

Live = Mapping[tuple[str, int], frozenset[tuple[str, int]]]  # (address, "" for node ports; port) -> backends


def live(book: ledger.Ledger, wanted: Iterable[plan.Wanted | None]) -> Live:
    """For every UDP claim of these Services: who may answer now. Nobody, when it is no Service's any more."""
    return {
        (claim.address, claim.port): _backends(book, claim)
        for one in wanted
        if one is not None and any(port.protocol == "udp" for port in one.service.ports)
        for claim in plan.claims(one)
        if claim.protocol == "udp"
    }


def grown(book: ledger.Ledger, replaced: plan.Replaced) -> frozenset[tuple[str, int]]:
    """Of these changed Services the UDP claims, as in Live, whose backends all still are.

    Scaling up need not look at the kernel's table of connections, which takes longer than all the rest.
    """
    return frozenset(
        (claim.address, claim.port)
        for key, (was, now) in replaced.items()
        if was is not None and now is not None
        for claim in plan.claims(was)
        if claim.protocol == "udp" and book.holder(claim) == key
        for had in [_of(was, claim)]
        if had and had <= _of(now, claim)
    )


def _backends(book: ledger.Ledger, claim: plan.Claim) -> frozenset[tuple[str, int]]:
    holder = book.holder(claim)
    wanted = book.get(holder) if holder is not None else None
    return _of(wanted, claim) if wanted is not None else frozenset()


def _of(wanted: plan.Wanted, claim: plan.Claim) -> frozenset[tuple[str, int]]:
    return frozenset(
        (backend.ip, backend.port)
        for placement in wanted.placements
        if placement.family is claim.family and _meant(placement.port, claim)
        for backend in (*placement.cluster, *placement.local)
    )


def _meant(port: services.Port, claim: plan.Claim) -> bool:
    return port.protocol == "udp" and claim.port == (port.port if claim.address else port.node_port)


def flows(tracked: Iterable[conntrack.Flow], live: Live) -> list[conntrack.Flow]:
    """Those to be forgotten. A node port is meant by its number alone, at any address."""
    found = []
    for flow in tracked:
        backends = live.get((flow.destination, flow.destination_port))
        if backends is None:
            backends = live.get(("", flow.destination_port))
        if backends is not None and (flow.answerer, flow.answerer_port) not in backends:
            found.append(flow)
    return found
