"""Who answers at an address and port, and what his own policies say to a connection there. Pure.

Knows that a Service chooses who listens, and that a pod listens where a container declares the port.
"""

from typing import NamedTuple

from netemu.model import endpoints, memos, policies, rules, worlds


class Target(NamedTuple):
    """Who answers to an address and port, and what policies see in him (no `subject`: he is nobody's).

    entering  what his ingress rules say to such a connection
    known     he listens, or nobody does: it is not left open whether a process has the port
    """

    owner: worlds.Party
    address: str
    port: int
    subject: policies.Subject | None
    what: rules.Arrival
    entering: rules.Answers
    known: bool


class Targets:
    """The targets of one world.

    at      whose an address is: by owner, address, port and protocol
    behind  whom a Service chose, so that he listens, whatever he declares: by endpoint and protocol
    """

    def __init__(self, world: worlds.World, policed: policies.Policies) -> None:
        self._world = world
        self._policies = policed
        self.at = memos.Memo(self._at)
        self.behind = memos.Memo(self._chosen)

    def _at(self, key: tuple[worlds.Party, str, int, str]) -> Target:
        owner, address, port, protocol = key
        pod = self._world.pod(owner.name, owner.namespace) if owner.kind == "pod" else None
        known = pod is None or protocol == "ICMP" or (port, protocol) in worlds.declared(pod)
        return self._make(owner, address, port, protocol, known)

    def _chosen(self, key: tuple[endpoints.Endpoint, str]) -> Target:
        endpoint, protocol = key
        owner = self._world.owner(endpoint.address)
        if owner is None or owner.kind != "pod":  # listed by hand, or a pod in a node's network
            known = self._world.pod(endpoint.name, endpoint.namespace)
            namespace = endpoint.namespace if known else ""
            owner = worlds.Party("outside", endpoint.name, namespace, endpoint.node)
        return self._make(owner, endpoint.address, endpoint.port, protocol, True)

    def _make(self, owner: worlds.Party, address: str, port: int, protocol: str, known: bool) -> Target:
        subject = self._policies.subjects[owner.name, owner.namespace] if owner.kind == "pod" else None
        what = subject.arrival(protocol, port) if subject else rules.Arrival(protocol, port)
        entering = subject.programs["ingress"].answers[what] if subject else rules.SILENT
        return Target(owner, address, port, subject, what, entering, known)
