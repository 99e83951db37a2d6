"""NetworkPolicy v1 as its documentation has it, read aloud: who may reach whom under plain documents.

Slow, simple, and of nobody's blood: it shares no code with the model nor with the enforcer, so that all three
can be held against each other. Source: the API reference of NetworkPolicySpec and
https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

import ipaddress


class Textbook:
    """The documents of a cluster: Namespaces, pods with their addresses, policies."""

    def __init__(self, spaces, pods, policies):
        self.spaces = {
            space["metadata"]["name"]: {
                **labels_of(space),
                "kubernetes.io/metadata.name": space["metadata"]["name"],
            }
            for space in spaces
        }
        self.pods = pods
        self.isolating = {
            (name_of(pod), direction): [
                policy
                for policy in policies
                if policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
                and direction in directions(policy["spec"])
                and selects(policy["spec"]["podSelector"], labels_of(pod))
            ]
            for pod in pods
            for direction in ("Ingress", "Egress")
        }

    def allows(self, source, target, family, protocol, port):
        """Whether a connection between two pods is let through: both ends have to allow it.

        `family` 4 or 6; `port` is the one at which it arrives. A pod always reaches itself.
        """
        if name_of(source) == name_of(target):
            return True
        arrival = (target, protocol, port)
        return self._passes("Egress", source, target, family, arrival) and self._passes(
            "Ingress", target, source, family, arrival
        )

    def _passes(self, direction, pod, other, family, arrival):
        """A pod that no policy selects for a direction is open; else some rule of some policy must match."""
        policies = self.isolating[name_of(pod), direction]
        return not policies or any(
            self._matches(rule, policy, other, family, arrival)
            for policy in policies
            for rule in policy["spec"].get(direction.lower()) or []
        )

    def _matches(self, rule, policy, other, family, arrival):
        """No peers: everybody. No ports: all of them."""
        peers, ports = rule.get("from") or rule.get("to"), rule.get("ports")
        return (not peers or any(self._is(other, peer, policy, family) for peer in peers)) and (
            not ports or any(is_port(entry, *arrival) for entry in ports)
        )

    def _is(self, pod, peer, policy, family):
        if "ipBlock" in peer:
            return is_within(address_of(pod, family), peer["ipBlock"])
        space, spaces, pods = (
            pod["metadata"]["namespace"],
            peer.get("namespaceSelector"),
            peer.get("podSelector"),
        )
        at_home = space == policy["metadata"]["namespace"]
        there = at_home if spaces is None else selects(spaces, self.spaces[space])
        return there and (pods is None or selects(pods, labels_of(pod)))


def directions(spec):
    """Ingress unless told otherwise, and Egress if there are rules for it."""
    return spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])


def selects(selector, labels):
    """All conditions hold; where there are none, everything is selected."""
    pairs = (selector.get("matchLabels") or {}).items()
    expressions = selector.get("matchExpressions") or []
    return all(labels.get(key) == value for key, value in pairs) and all(
        is_met(expression, labels) for expression in expressions
    )


def is_met(expression, labels):
    """A label that is not there is not in any list of values, so NotIn holds of it."""
    held, values = labels.get(expression["key"]), expression.get("values") or []
    return {
        "In": held in values,
        "NotIn": held not in values,
        "Exists": held is not None,
        "DoesNotExist": held is None,
    }[expression["operator"]]


def is_port(entry, target, protocol, port):
    """A name is what the target's containers call the port, in that protocol."""
    if protocol != entry.get("protocol", "TCP"):
        return False
    wanted = entry.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return any(
            (known.get("name"), known["containerPort"], known.get("protocol", "TCP"))
            == (wanted, port, protocol)
            for container in target["spec"]["containers"]
            for known in container.get("ports") or []
        )
    return wanted <= port <= entry.get("endPort", wanted)


def is_within(address, block):
    """In the range, and in none that is excepted; a range of the other family holds nobody."""
    inside, *excepted = (
        ipaddress.ip_address(address) in ipaddress.ip_network(text)
        for text in (block["cidr"], *(block.get("except") or []))
    )
    return inside and not any(excepted)


def address_of(pod, family):
    return next(one["ip"] for one in pod["status"]["podIPs"] if (":" in one["ip"]) == (family == 6))


def labels_of(document):
    return document["metadata"].get("labels") or {}


def name_of(document):
    return document["metadata"]["namespace"], document["metadata"]["name"]
