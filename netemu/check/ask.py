"""One question in the words people type, answered by the model. Pure."""

from netemu.base import errors
from netemu.check import places, telling
from netemu.model import expect, flows, worlds


def ask(
    world: worlds.World,
    finder: places.Finder,
    sender: str,
    target: str,
    *,
    protocol: str | None = None,
    family: int | None = None,
) -> telling.Answer:
    """What must happen. Rejected (with a hint) when an end does not exist or the port is not clear.

    Without a protocol it is the one of the target's port, else TCP; without a family its first.
    """
    source = finder.source(sender)
    found = finder.target(target, source)
    port, protocol = _port(found, target, protocol)
    host, chosen = found.of_family(family)
    flow = flows.Flow(source, host, port, protocol, chosen)
    verdict = expect.explain(world, flow)
    by_name = None
    if found.service is not None and worlds.is_address(host) and source.kind == "pod" and protocol != "ICMP":
        meta = found.service.metadata
        name = meta.name if meta.namespace == source.namespace else f"{meta.name}.{meta.namespace}"
        by_name = expect.explain(world, flow._replace(host=name))
        if by_name.words == verdict.words:
            by_name = None
    return telling.Answer(flow, found.shown, verdict, by_name)


def _port(found: places.Target, text: str, protocol: str | None) -> tuple[int, str]:
    if protocol == "ICMP":
        return 0, "ICMP"
    if found.port is not None:
        of_port = [p for number, p in found.ports if number == found.port]
        return found.port, protocol or (of_port[0] if len(of_port) == 1 else "TCP")
    offered = [(number, p) for number, p in found.ports if protocol in (None, p)]
    if len({number for number, _ in offered}) == 1:
        return offered[0][0], protocol or offered[0][1]
    known = f"it has {', '.join(f'{number}/{p}' for number, p in found.ports)}" if found.ports else ""
    written = f"[{text}]" if worlds.is_address(text) and ":" in text else text
    raise errors.Rejected(f"which port of {text}? write {written}:PORT", hint=known or f"as in {written}:80")
