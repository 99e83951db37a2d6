"""Names of a small cluster, row by row. Expected: the DNS specification 1.1.0, else what CoreDNS does."""

import pytest

from netemu.api import codec, core, discovery, meta, wellknown
from netemu.dns import cluster, resolve

ZONE = "cluster.local"


def service(name, namespace="shop", **spec):
    ports = spec.pop("ports", [{"name": "http", "port": 80, "protocol": "TCP"}])
    return codec.convert(
        core.Service,
        {"metadata": {"name": name, "namespace": namespace}, "spec": {"ports": ports, **spec}},
    )


def slice_(service_name, addresses, *, namespace="shop", family="IPv4", name="", ports=None):
    return codec.convert(
        discovery.EndpointSlice,
        {
            "metadata": {
                "name": name or f"{service_name}-{family}",
                "namespace": namespace,
                "labels": {wellknown.SERVICE_NAME: service_name},
            },
            "addressType": family,
            "endpoints": addresses,
            "ports": ports if ports is not None else [{"name": "http", "port": 8080, "protocol": "TCP"}],
        },
    )


OBJECTS = (
    service("web", clusterIP="10.96.0.20", clusterIPs=["10.96.0.20", "fd00:96::20"]),
    service(
        "old", clusterIP="10.96.0.21", clusterIPs=["10.96.0.21"], ports=[{"port": 80, "protocol": "TCP"}]
    ),
    service(
        "many",
        clusterIP="10.96.0.22",
        clusterIPs=["10.96.0.22"],
        ports=[
            {"name": "http", "port": 80, "protocol": "TCP"},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ],
    ),
    service("db", clusterIP="None", clusterIPs=["None"]),
    service("empty", clusterIP="None", clusterIPs=["None"]),
    service("out", type="ExternalName", externalName="Example.COM.", ports=[]),
    service("in", type="ExternalName", externalName="web.shop.svc.cluster.local", ports=[]),
    service("in-in", type="ExternalName", externalName="in.shop.svc.cluster.local", ports=[]),
    service("nowhere", type="ExternalName", externalName="gone.shop.svc.cluster.local", ports=[]),
    service("snake", type="ExternalName", externalName="snake.shop.svc.cluster.local", ports=[]),
    service("number", type="ExternalName", externalName="192.0.2.1", ports=[]),
    service("kube-dns", "kube-system", clusterIP="10.96.0.10", clusterIPs=["10.96.0.10", "fd00:96::a"]),
    slice_("web", [{"addresses": ["10.244.1.5"], "hostname": "web-0"}]),
    slice_(
        "db",
        [
            {"addresses": ["10.244.1.7"], "hostname": "db-0"},
            {"addresses": ["10.244.2.8"]},
            {"addresses": ["10.244.2.9"], "conditions": {"ready": False}},
        ],
    ),
    slice_("db", [{"addresses": ["fd00:244:0:1::7"], "hostname": "db-0"}], family="IPv6"),
    slice_("empty", [{"addresses": ["10.244.2.9"], "conditions": {"ready": False}}]),
)


def put(known, obj, previous=None):
    key = meta.Key(obj.metadata.namespace, obj.metadata.name)
    if isinstance(obj, core.Service):
        known.service(key, cluster.parse_service(obj))
    else:
        known.slice(key, cluster.parse_slice(previous) if previous else None, cluster.parse_slice(obj))


@pytest.fixture
def known():
    made = cluster.Cluster("Cluster.Local.")
    for name in ("shop", "kube-system", "bare"):
        made.namespace(name, exists=True)
    for obj in OBJECTS:
        put(made, obj)
    return made


def shown(answer):
    """`CODE type data …`: answers only, as a reader would say it."""
    parts = []
    for record in answer.answers:
        data = " ".join(map(str, record.data)) if isinstance(record.data, tuple) else record.data
        parts.append(f"{record.type} {data}")
    return [answer.code, *parts]


NODATA, NXDOMAIN = ["NOERROR"], ["NXDOMAIN"]
ROWS = [
    ("web.shop.svc", "A", ["NOERROR", "A 10.96.0.20"]),
    ("web.shop.svc", "AAAA", ["NOERROR", "AAAA fd00:96::20"]),
    ("old.shop.svc", "AAAA", NODATA),
    ("web.shop.svc", "MX", NODATA),
    ("gone.shop.svc", "A", NXDOMAIN),
    ("gone.shop.svc", "AAAA", NXDOMAIN),
    ("web.gone.svc", "A", NXDOMAIN),
    ("_http._tcp.web.shop.svc", "SRV", ["NOERROR", "SRV 0 50 80 web.shop.svc.cluster.local"]),
    ("_http._udp.web.shop.svc", "SRV", NXDOMAIN),
    ("_smtp._tcp.web.shop.svc", "SRV", NXDOMAIN),
    ("_http._tcp.old.shop.svc", "SRV", NXDOMAIN),
    (
        "many.shop.svc",
        "SRV",
        ["NOERROR", "SRV 0 50 80 many.shop.svc.cluster.local", "SRV 0 50 53 many.shop.svc.cluster.local"],
    ),
    ("_dns._udp.many.shop.svc", "SRV", ["NOERROR", "SRV 0 100 53 many.shop.svc.cluster.local"]),
    ("web-0.web.shop.svc", "A", ["NOERROR", "A 10.244.1.5"]),
    ("db.shop.svc", "A", ["NOERROR", "A 10.244.1.7", "A 10.244.2.8"]),
    ("db.shop.svc", "AAAA", ["NOERROR", "AAAA fd00:244:0:1::7"]),
    ("db-0.db.shop.svc", "A", ["NOERROR", "A 10.244.1.7"]),
    ("10-244-2-8.db.shop.svc", "A", ["NOERROR", "A 10.244.2.8"]),
    ("10-244-2-9.db.shop.svc", "A", NXDOMAIN),
    ("db-1.db.shop.svc", "A", NXDOMAIN),
    (
        "_http._tcp.db.shop.svc",
        "SRV",
        [
            "NOERROR",
            "SRV 0 33 8080 db-0.db.shop.svc.cluster.local",
            "SRV 0 33 8080 10-244-2-8.db.shop.svc.cluster.local",
        ],
    ),
    ("empty.shop.svc", "A", NXDOMAIN),
    ("out.shop.svc", "A", ["NOERROR", "CNAME example.com"]),
    ("out.shop.svc", "CNAME", ["NOERROR", "CNAME example.com"]),
    ("x.out.shop.svc", "A", NXDOMAIN),
    ("in.shop.svc", "A", ["NOERROR", "CNAME web.shop.svc.cluster.local", "A 10.96.0.20"]),
    (
        "in-in.shop.svc",
        "AAAA",
        [
            "NOERROR",
            "CNAME in.shop.svc.cluster.local",
            "CNAME web.shop.svc.cluster.local",
            "AAAA fd00:96::20",
        ],
    ),
    ("nowhere.shop.svc", "A", ["NXDOMAIN", "CNAME gone.shop.svc.cluster.local"]),
    ("number.shop.svc", "A", NXDOMAIN),
    ("10-244-1-5.shop.pod", "A", ["NOERROR", "A 10.244.1.5"]),
    ("10-244-1-5.shop.pod", "AAAA", NODATA),
    ("fd00-244-0-1--7.shop.pod", "AAAA", ["NOERROR", "AAAA fd00:244:0:1::7"]),
    ("10-244-1-5.gone.pod", "A", NXDOMAIN),
    ("nonsense.shop.pod", "A", NXDOMAIN),
    ("x.10-244-1-5.shop.pod", "A", NXDOMAIN),
    ("300-1-1-1.shop.pod", "A", NXDOMAIN),
    ("", "A", NODATA),
    ("svc", "A", NODATA),
    ("pod", "A", NODATA),
    ("shop.svc", "A", NODATA),
    ("bare.svc", "A", NODATA),
    ("shop.pod", "A", NODATA),
    ("gone.svc", "A", NXDOMAIN),
    ("node", "A", NXDOMAIN),
    ("a._b._c.web.shop.svc", "A", NXDOMAIN),
    ("dns-version", "TXT", ["NOERROR", "TXT 1.1.0"]),
    ("dns-version", "A", NODATA),
    ("x.dns-version", "TXT", NXDOMAIN),
    ("", "NS", ["NOERROR", "NS ns.dns.cluster.local"]),
    ("ns.dns", "A", ["NOERROR", "A 10.96.0.10"]),
    ("ns.dns", "AAAA", ["NOERROR", "AAAA fd00:96::a"]),
    ("web.shop.svc", "AXFR", ["REFUSED"]),
]


@pytest.mark.parametrize(("name", "kind", "expected"), ROWS)
def test_a_name_of_the_cluster(known, name, kind, expected):
    answer = resolve.resolve(known, f"{name}.{ZONE}".lstrip("."), kind)
    assert shown(answer) == expected
    negative = not any(r.type == kind for r in answer.answers) and not answer.answers
    if negative and answer.code != "REFUSED":  # RFC 2308: a negative answer says how long it holds
        assert [r.type for r in answer.authority] == ["SOA"]
        assert answer.authority[0].data.minimum == 5
        assert answer.authority[0].name == ZONE
    assert all(r.ttl == (28800 if r.type == "TXT" else 5) for r in answer.answers)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("20.0.96.10.in-addr.arpa", ["NOERROR", "PTR web.shop.svc.cluster.local"]),
        ("7.1.244.10.in-addr.arpa", ["NOERROR", "PTR db-0.db.shop.svc.cluster.local"]),
        ("8.2.244.10.in-addr.arpa", ["NOERROR", "PTR 10-244-2-8.db.shop.svc.cluster.local"]),
        (
            "0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa",
            ["NOERROR", "PTR web.shop.svc.cluster.local"],
        ),
    ],
)
def test_an_address_of_the_cluster(known, name, expected):
    assert shown(resolve.resolve(known, name, "PTR")) == expected


@pytest.mark.parametrize(
    "name",
    [
        "example.com",
        "xcluster.local",
        "local",
        "",
        "99.9.9.9.in-addr.arpa",
        "9.9.in-addr.arpa",
        "999.0.0.10.in-addr.arpa",
        "x.ip6.arpa",
        "in-addr.arpa",
    ],
)
def test_a_name_that_is_others_business(known, name):
    assert resolve.resolve(known, name, "PTR") is None


def test_an_alias_to_itself_ends(known):
    assert resolve.resolve(known, "snake.shop.svc.cluster.local", "A").code == "SERVFAIL"


def test_srv_brings_the_addresses_of_its_targets(known):
    answer = resolve.resolve(known, "_http._tcp.db.shop.svc.cluster.local", "SRV")
    assert [(r.name, r.type, r.data) for r in answer.additional] == [
        ("db-0.db.shop.svc.cluster.local", "A", "10.244.1.7"),
        ("10-244-2-8.db.shop.svc.cluster.local", "A", "10.244.2.8"),
        ("db-0.db.shop.svc.cluster.local", "AAAA", "fd00:244:0:1::7"),
    ]


def test_what_changes_is_answered_at_once_and_what_goes_is_gone(known):
    before = known.revision
    put(known, service("web", clusterIP="10.96.0.99", clusterIPs=["10.96.0.99"]))
    assert known.revision > before
    assert shown(resolve.resolve(known, "web.shop.svc.cluster.local", "A")) == ["NOERROR", "A 10.96.0.99"]
    assert resolve.resolve(known, "20.0.96.10.in-addr.arpa", "PTR") is None
    old, new = OBJECTS[-3], slice_("db", [{"addresses": ["10.244.1.7"], "conditions": {"ready": False}}])
    put(known, new, previous=old)
    left = resolve.resolve(known, "db.shop.svc.cluster.local", "A")
    assert shown(left) == NODATA  # its IPv6 endpoint is left
    assert resolve.resolve(known, "8.2.244.10.in-addr.arpa", "PTR") is None
    known.service(meta.Key("shop", "db"), None)
    assert shown(resolve.resolve(known, "db.shop.svc.cluster.local", "A")) == NXDOMAIN
    known.namespace("shop", exists=False)
    assert shown(resolve.resolve(known, "shop.svc.cluster.local", "A")) == NXDOMAIN


def test_saying_the_same_again_is_no_change(known):
    before = known.revision
    for obj in OBJECTS:
        put(known, obj, previous=None if isinstance(obj, core.Service) else obj)
    assert known.revision == before
