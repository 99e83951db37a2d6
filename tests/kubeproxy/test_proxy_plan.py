"""Services planned: a small cluster's document, a walk over states against fake and kernel, conflicts.

NETEMU_REGENERATE=1 writes the golden document anew; read the difference before it is committed.
"""

import itertools
import os
import random
from pathlib import Path

import pytest

from netemu.api import meta
from netemu.kernel import conntrack, firewall, netns
from netemu.kubeproxy import affinity, changes, endpoints, layout, ledger, options, plan, services, stale

GOLDEN = Path(__file__).parent / "golden" / "small-cluster.nft"
CHOSEN = options.Options(("10.244.0.0/16", "fd00:244::/56"), ("10.96.0.0/16", "fd00:96::/112"))
AROUND = options.surroundings(CHOSEN, None)
HERE = endpoints.Topology("here")
IDENTITIES = itertools.count(1)


def key(name):
    return meta.Key("shop", name)


def service(name, number, *, families=2, ports=((80, "tcp"),), **special):
    addresses = (f"10.96.0.{number}", f"fd00:96::{number}")[:families]
    made = tuple(services.Port(f"p{port}", protocol, port, node) for port, protocol, node in _full(ports))
    return services.Service(key(name), made, addresses, **special)


def _full(ports):
    return ((*port, 0)[:3] for port in ports)


def members(name, *backends, ports=((80, "tcp"),), six=False):
    """A slice: backends as (last number of the address, node), port 8000 + the Service's."""
    addresses = [
        endpoints.Endpoint(
            f"fd00:244::{n}" if six else f"10.244.0.{n}", True, True, False, node, f"{name}-{n}"
        )
        for n, node in backends
    ]
    return endpoints.Slice(
        key(name),
        tuple((f"p{port}", protocol, 8000 + port) for port, protocol, *_ in ports),
        tuple(addresses),
    )


def sticky_numbers(wanted):
    return {ip: number for (ip, _), number in wanted.placements[0].numbers.held}


def test_a_backend_keeps_its_number_and_no_number_is_given_twice():
    one = service("web", 10, families=1, affinity_seconds=10800)
    first = place(one, members("web", (1, ""), (2, ""), (3, "")))
    second = place(one, members("web", (1, ""), (3, "")), previous=first)
    third = place(one, members("web", (1, ""), (2, ""), (3, "")), previous=second)
    a, b, c = (sticky_numbers(w) for w in (first, second, third))
    assert b == {ip: a[ip] for ip in ("10.244.0.1", "10.244.0.3")}
    assert {ip: c[ip] for ip in b} == b
    assert c["10.244.0.2"] not in a.values()  # who remembers the old one is not led to the new one
    assert first.placements[0].numbers.identity == third.placements[0].numbers.identity
    again = place(one, members("web", (1, "")))
    assert again.placements[0].numbers.identity != first.placements[0].numbers.identity


def test_numbers_are_spelled_as_traffic_classes_nft_reads_back():
    assert [affinity.spelled(n) for n in (1, 0xFFFF, 0x10000)] == ["7e00:1", "7e00:ffff", "7e01:1"]


def test_the_kinds_of_all_modes_sizes_and_timeouts_are_different_numbers():
    shapes = [
        layout.Shape(mode, size, seconds)
        for mode in layout.MODES.values()
        for size in (1, 2, affinity.SIZE_LIMIT)
        for seconds in (0, 1, 10800, 86400)
    ]
    assert [layout.led_to(shape.kind) for shape in shapes] == shapes
    assert len({shape.kind for shape in shapes} | {layout.DROP}) == len(shapes) + 1
    assert max(shape.kind for shape in shapes) < 1 << 32


def place(one, *slices, previous=None, identities=IDENTITIES):
    return plan.place(changes.State(one, slices), HERE, previous, identities)


def test_the_document_of_a_small_cluster():
    ports = ((80, "tcp", 30080), (53, "udp"))
    book, tables = ledger.Ledger("here"), ledger.Tables(AROUND)
    difference = book.update(
        {
            key("web"): place(
                service("web", 10, ports=ports),
                members("web", (1, "here"), (2, "there"), ports=ports),
                members("web", (1, "here"), ports=ports, six=True),
            ),
            key("local"): place(
                service("local", 11, families=1, ports=((80, "tcp", 30081),), external_local=True),
                members("local", (2, "there")),
            ),
            key("sticky"): place(
                service("sticky", 13, families=1, ports=((80, "tcp", 30082),), affinity_seconds=10800),
                members("sticky", (3, "here"), (4, "there")),
                identities=itertools.count(1),
            ),
            key("empty"): place(service("empty", 12, families=1, external_ips=("198.51.100.1",))),
        }
    )
    text = "".join(map(str, tables.fresh(difference.added)))
    if os.environ.get("NETEMU_REGENERATE"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


PLAIN = ("cluster-ips", "hairpins", "rejected", "rejected-node-ports", "guarded", "allowed")


def meaning(sets):
    """A table's sets as what they do, so that slots may differ: Service port -> kind and backends."""
    found = {
        name: dict(sets[name]) for name in ("cluster-ips", "hairpins", "rejected", "rejected-node-ports")
    }
    for layer, modes in (
        (layout.SERVICES, {"vip": layout.CLUSTER, "node": layout.NODE}),
        (layout.LOCAL_SERVICES, {"vip": layout.LOCAL, "node": layout.NODE_LOCAL}),
    ):
        for where, name in layer.items():
            found[name] = {k: served(sets, modes[where], k, int(v, 16)) for k, v in sets[name].items()}
    used = sum(len(value[1]) for of in found.values() for value in of.values() if isinstance(value, tuple))
    slots = sum(
        len(elements) for name, elements in sets.items() if "backends-" in name and "number" not in name
    )
    slots += sum(len(elements) for name, elements in sets.items() if name.startswith("numbers-"))
    assert used == slots  # no backend is left behind in a slot that nothing draws
    return found


def served(sets, mode, service_port, kind):
    shape = layout.led_to(kind)
    if shape is None:
        return ("drop", ())
    if shape.seconds:
        return (shape.chain, tuple(sorted(drawn_by_number(sets, mode, service_port, shape.size))))
    *address, protocol, port = service_port.split(" . ")
    backends = sets[mode.backends(protocol)]
    # KeyError: a hole.
    drawn = [backends[" . ".join((*address, port, str(slot)))] for slot in range(shape.size)]
    assert len(set(drawn)) == len(drawn)
    return (shape.chain, tuple(sorted(drawn)))


def drawn_by_number(sets, mode, service_port, size):
    assert service_port in sets[affinity.identities(mode.place)]
    numbers, backends = sets[affinity.drawn(mode.scope)], sets[affinity.numbered(mode.scope)]
    drawn = [backends[f"{service_port} . {numbers[f'{service_port} . {slot}']}"] for slot in range(size)]
    assert len(set(drawn)) == len(drawn)
    return drawn


NODES = ("here", "there", "")


def some_service(rng, number):
    """One of all that a Service can be, at an address of its own; external addresses may be fought over."""
    ports = [(80, rng.choice(("tcp", "udp")), rng.choice((0, 30000 + number)))]
    if rng.random() < 0.4:
        ports.append((53, rng.choice(("udp", "sctp"))))
    return service(
        f"s{number}",
        number,
        families=rng.choice((1, 2)),
        ports=ports,
        external_ips=rng.choice(((), (), ("198.51.100.1",), ("198.51.100.1", "2001:db8::1"))),
        balancer_ips=rng.choice(((), (f"203.0.113.{number}", f"2001:db8:9::{number}"))),
        source_ranges=rng.choice(((), ("0.0.0.0/0",), ("10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"))),
        internal_local=rng.random() < 0.3,
        external_local=rng.random() < 0.3,
        affinity_seconds=rng.choice((0, 0, 10, 86400)),
    )


def some_slice(rng, number, six):
    chosen = rng.sample(range(1, 9), rng.randrange(0, 6))
    name = f"s{number}"
    slice_ = members(
        name, *((n, NODES[n % 3]) for n in chosen), ports=((80, "tcp"), (80, "udp"), (53, "udp")), six=six
    )
    shaken = (
        e._replace(ready=rng.random() < 0.7, serving=rng.random() < 0.8, terminating=rng.random() < 0.3)
        for e in slice_.endpoints
    )
    return slice_._replace(endpoints=tuple(shaken))


def step(rng, tracked, slices):
    """Change something of the cluster."""
    number = rng.randrange(1, 7)
    if rng.random() < 0.4:
        tracked.service(key(f"s{number}"), some_service(rng, number) if rng.random() < 0.75 else None)
        return
    name = f"s{number}-{rng.randrange(3)}"
    previous = slices.get(name)
    slices[name] = some_slice(rng, number, name.endswith("2")) if rng.random() < 0.8 else None
    tracked.slice(name, previous, slices[name])


def walk(door, steps, seed, check):
    rng, tracked, slices = random.Random(seed), changes.Changes(), {}
    book, tables = ledger.Ledger("here"), ledger.Tables(AROUND)
    door.apply("".join(map(str, tables.fresh(()))))
    for _ in range(steps):
        for _ in range(rng.randrange(1, 4)):
            step(rng, tracked, slices)
        taken = tracked.take()
        wanted = {k: plan.place(c.current, HERE, book.get(k), IDENTITIES) for k, c in taken.items()}
        for document in tables.change(book.update(wanted)):
            door.apply("".join(map(str, document)))
        again = {k: plan.place(c.current, HERE, book.get(k), IDENTITIES) for k, c in taken.items()}
        assert not book.update(again)  # there is nothing left to do
        check(tracked, book)


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 12))]
)
def test_from_any_state_to_any_other_the_table_is_what_a_new_one_would_be(seed):
    door = firewall.FakeFirewall()

    def check(tracked, book):
        anew, fake = ledger.Ledger("here"), firewall.FakeFirewall()
        everything = {k: plan.place(s, HERE, None, IDENTITIES) for k, s in tracked.everything().items()}
        held = dict(book._holders)  # who came first to a disputed claim is history: a new table cannot know
        added = tuple(anew.fill(everything))
        assert len(added) == len(set(added))
        assert set(added) == set(ledger.Ledger("here").update(everything).added)
        fake.apply("".join(map(str, ledger.Tables(AROUND).fresh(added))))
        if anew._holders == held:
            for family in layout.FAMILIES:
                name = str(family.table)
                assert meaning(door.tables[name].sets) == meaning(fake.tables[name].sets)
        else:
            assert anew._holders.keys() == held.keys()
        assert {(p.family, *p.element[:3]) for p in book.elements()} == set(shown(door))

    walk(door, 120, seed, check)


def shown(door):
    """The fake's elements, which have no comments, without those that are no Service's."""
    for family in layout.FAMILIES:
        for name, elements in door.tables[str(family.table)].sets.items():
            for at, value in elements.items():
                if name not in ("pods", "service-ranges", "kinds"):
                    yield family, name, at, value


@pytest.mark.root
def test_the_kernel_takes_every_step_that_the_fake_takes():
    place_ = netns.open_new()
    real, fake = firewall.LibNftables(place_), firewall.FakeFirewall()

    class Both:
        def apply(self, text):
            fake.apply(text)
            real.apply(text)

    def check(_, __):
        for family in layout.FAMILIES:
            have = fake.tables[str(family.table)].sets
            for name in (
                "services",
                "node-ports",
                "cluster-ips",
                "backends-tcp",
                "backends-udp",
                "node-backends-tcp",
            ):
                noun = "set" if name == "cluster-ips" else "map"
                listed = real.list_json(f"list {noun} {family.table} {name}")["nftables"][1][noun].get(
                    "elem", []
                )
                assert sorted(map(flat, listed)) == sorted(
                    " ".join((k, str(int(v, 16)) if v.startswith("0x") else v)).strip().replace(" . ", " ")
                    for k, v in have[name].items()
                )

    try:
        walk(Both(), 60, 7, check)
    finally:
        os.close(place_)


def flat(element):
    """nft's JSON for one element as its words: key, then value."""
    if isinstance(element, dict):
        if "elem" in element:
            return flat(element["elem"]["val"])
        return flat(element["concat"])
    if isinstance(element, list):
        return " ".join(map(flat, element))
    return str(element)


def test_an_endpoint_less_changes_few_elements():
    one = service("web", 10, families=1)
    book = ledger.Ledger("here")
    many = [(n, "there") for n in range(1, 201)]
    book.update({key("web"): place(one, members("web", *many))})
    fewer = members("web", *(m for m in many if m[0] != 77))
    difference = book.update({key("web"): place(one, fewer, previous=book.get(key("web")))})
    # the last one moves into the gap; and the Service has another number of backends
    assert [p.element.of for p in difference.deleted] == ["services", "backends-tcp", "backends-tcp"]
    assert [p.element.of for p in difference.added] == ["services", "backends-tcp"]


def test_two_services_with_one_external_address_the_first_keeps_it_and_leaves_it_to_the_other():
    external = ("198.51.100.1",)
    zebra = place(service("zebra", 10, families=1, external_ips=external), members("zebra", (1, "here")))
    ant = place(
        service("ant", 11, families=1, external_ips=external), members("ant", (2, "here"), (3, "here"))
    )
    book = ledger.Ledger("here")
    book.update({key("zebra"): zebra})
    book.update({key("ant"): ant})
    claim = plan.Claim(layout.IP, "tcp", 80, "198.51.100.1")
    assert book.holder(claim) == key("zebra")
    assert book.refused(key("ant")) == {claim}
    assert held_by(book, "198.51.100.1") == {"10.244.0.1 . 8080"}
    book.update({key("zebra"): zebra._replace(service=zebra.service._replace(source_ranges=("10.0.0.0/8",)))})
    assert book.holder(claim) == key("zebra")  # another change of it is no letting go
    book.update({key("zebra"): None})
    assert held_by(book, "198.51.100.1") == {"10.244.0.2 . 8080", "10.244.0.3 . 8080"}
    assert not book.refused(key("ant"))


def held_by(book, address):
    return {
        p.element.value
        for p in book.elements()
        if p.element.of == "backends-tcp" and p.element.key.startswith(address)
    }


def test_a_pod_behind_two_services_stays_a_hairpin_until_both_are_gone():
    book = ledger.Ledger("here")
    both = {
        key(n): place(service(n, i, families=1), members(n, (1, "here"))) for i, n in enumerate(("a", "b"), 1)
    }
    added = book.update(both).added
    assert [p.element.key for p in added if p.element.of == "hairpins"] == ["10.244.0.1 . 10.244.0.1"]
    assert not [p for p in book.update({key("a"): None}).deleted if p.element.of == "hairpins"]
    assert [p for p in book.update({key("b"): None}).deleted if p.element.of == "hairpins"]


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        ("abc", "abc", "abc"),
        ("abc", "ab", "ab"),
        ("abc", "bc", "cb"),
        ("abc", "abcd", "abcd"),
        ("abc", "bd", "db"),
        ("abc", "xyz", "xyz"),
        ("", "ba", "ba"),
        ("abc", "", ""),
    ],
)
def test_who_stays_keeps_his_slot(held, wanted, expected):
    def backends(names):
        return tuple(endpoints.Backend(name, 1) for name in names)

    assert "".join(b.ip for b in plan.assign(backends(held), backends(wanted))) == expected


def flow(address, port, answerer, answerer_port=8053):
    return conntrack.Flow(17, "10.244.9.9", 4000, address, port, answerer, answerer_port, b"")


def test_udp_flows_of_backends_that_left_are_stale_and_others_are_not():
    ports = ((53, "udp", 30053),)
    book = ledger.Ledger("here")
    now = place(service("dns", 10, families=1, ports=ports), members("dns", (1, "here"), ports=ports))
    book.update({key("dns"): now})
    live = stale.live(book, [now])
    good = [
        flow("10.96.0.10", 53, "10.244.0.1"),
        flow("172.18.0.3", 30053, "10.244.0.1"),
        flow("10.96.0.99", 53, "10.244.0.9"),  # another Service's
        flow("192.0.2.1", 53, "192.0.2.1"),
    ]
    bad = [
        flow("10.96.0.10", 53, "10.244.0.2"),
        flow("10.96.0.10", 53, "10.96.0.10", 53),  # tracked before there was a rule
        flow("172.18.0.3", 30053, "10.244.0.2"),
        flow("10.96.0.10", 53, "10.244.0.1", 9999),
    ]
    assert stale.flows([*good, *bad], live) == bad
    book.update({key("dns"): None})
    assert stale.flows(good[:2], stale.live(book, [now, None])) == good[:2]


def test_connections_are_looked_through_only_when_a_backend_left_or_an_address_is_new():
    ports = ((53, "udp", 30053),)
    few, many = (members("dns", *((n, "here") for n in range(1, last)), ports=ports) for last in (2, 4))
    one, more = (place(service("dns", 10, families=1, ports=ports), m) for m in (few, many))
    wider = place(service("dns", 10, families=1, ports=ports, external_ips=("198.51.100.1",)), many)
    nobody = place(service("dns", 10, families=1, ports=ports))

    def grown(was, now):
        book = ledger.Ledger("here")
        book.update({key("dns"): was})
        book.update({key("dns"): now})
        return stale.grown(book, {key("dns"): (was, now)})

    both = {("10.96.0.10", 53), ("", 30053)}
    assert grown(one, more) == both
    assert grown(more, wider) == both  # and not the new address
    assert grown(more, one) == grown(nobody, one) == grown(one, None) == set()


def test_a_touch_gives_every_service_once_and_what_changed_beside_it():
    tracked = changes.Changes()
    for number in (1, 2):
        tracked.service(key(f"s{number}"), service(f"s{number}", number))
    tracked.take()
    tracked.touch()
    tracked.service(key("s2"), None)
    assert tracked
    taken = tracked.take()
    assert {k.name: change.current.service is not None for k, change in taken.items()} == {
        "s1": True,
        "s2": False,
    }
    assert not tracked
    assert not tracked.take()


@pytest.mark.parametrize("seconds", [0, 60])
def test_slots_that_are_no_longer_drawn_go_after_the_others(seconds):
    """A packet in flight has read the old number of backends: every slot it may draw is still there."""
    one = service("web", 10, families=1, affinity_seconds=seconds)
    book, tables = ledger.Ledger("here"), ledger.Tables(AROUND)
    door = firewall.FakeFirewall()
    first = place(one, members("web", (1, ""), (2, ""), (3, "")))
    door.apply("".join(map(str, tables.fresh(book.fill({key("web"): first})))))
    slots = {name: set(elements) for name, elements in door.tables["ip netemu-proxy"].sets.items()}
    fewer = place(one, members("web", (2, "")), previous=first)
    documents = tables.change(book.update({key("web"): fewer}))
    assert len(documents) == 2
    door.apply("".join(map(str, documents[0])))
    sets = door.tables["ip netemu-proxy"].sets
    assert all(slots[name] <= set(sets[name]) for name in layout.SLOTS)
    (kind,) = sets["services"].values()
    assert layout.led_to(int(kind, 16)).size == 1
    door.apply("".join(map(str, documents[1])))
    assert sum(len(door.tables["ip netemu-proxy"].sets[name]) for name in layout.SLOTS) == (
        2 if seconds else 1
    )


def test_source_ranges_hold_for_all_load_balancer_ips_and_for_no_other_address():
    vips = ("198.51.100.1", "198.51.100.2")
    one = service("web", 10, balancer_ips=vips, external_ips=("192.0.2.1",), source_ranges=("10.0.0.0/8",))
    wanted = place(one, members("web", (1, "here")))
    guarded = {e.element.key for e in plan.elements(wanted, plan.Here("here")) if e.element.of == "guarded"}
    assert guarded == {f"{vip} . tcp . 80" for vip in vips}


def test_where_the_node_may_dial_a_load_balancer_ip_the_ip_itself_may():
    """A balancer gives it to the node as its own, and the node then sends from it."""
    one = service("web", 10, balancer_ips=("198.51.100.1",), source_ranges=("172.18.0.0/16", "fd00::/8"))
    assert plan.allowed(one, False, ("172.18.0.2", "fd00:18::2")) == ("172.18.0.0/16", "198.51.100.1")
    assert plan.allowed(one, False, ("192.0.2.1",)) == ("172.18.0.0/16",)
    assert plan.allowed(one, True, ("172.18.0.2", "fd00:18::2")) == ("fd00::/8",)  # it has no IP there
    wanted = place(one, members("web", (1, "here")))
    here = plan.Here("here", ("172.18.0.2",))
    allowed = {e.element.key for e in plan.elements(wanted, here) if e.element.of == "allowed"}
    assert allowed == {f"198.51.100.1 . tcp . 80 . {net}" for net in ("172.18.0.0/16", "198.51.100.1/32")}
