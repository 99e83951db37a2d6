"""What a container finds inside: variables, /etc/hosts, /etc/resolv.conf, volumes; and its log lines."""

import base64
import os

import pytest

from netemu.api import core, meta
from netemu.base import errors
from netemu.kubelet import disk, downward, environments, etc, logs, volumes

S = environments.Source


@pytest.fixture
def me(given):
    pod = given.pod(
        given.container(
            resources=core.ResourceRequirements(limits={"cpu": "1500m"}, requests={"memory": "64Mi"})
        ),
        about={"labels": {"app": "web", "tier": 'a"b'}, "annotations": {"n": "1"}},
        nodeName="n1",
        serviceAccountName="default",
    )
    return downward.Self(pod, ("10.244.1.5", "fd00::5"), given.node_ips, {"memory": "1048576Ki", "cpu": "2"})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['none']", ""),
        ("metadata.labels", 'app="web"\ntier="a\\"b"'),
        ("spec.nodeName", "n1"),
        ("status.hostIP", "172.18.0.3"),
        ("status.podIPs", "10.244.1.5,fd00::5"),
    ],
)
def test_fields_of_the_pod(me, path, value):
    assert downward.field(me, path) == value


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", "", "2"),
        ("limits.cpu", "1m", "1500"),
        ("requests.memory", "1Mi", "64"),
        ("limits.memory", "1Mi", "1024"),
        ("requests.cpu", "", "0"),
    ],
)
def test_resources_are_rounded_up_and_absent_limits_are_the_node_s(me, resource, divisor, value):
    selector = core.ResourceFieldSelector(resource=resource, divisor=divisor)
    assert downward.resource(me, me.pod.spec.containers[0], selector) == value


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A) $$ $A $(A", "$(A) $ $A $(A"),
        ("$", "$"),
        ("$(A)$(A)", "11"),
        ("$$$(A)", "$1"),
        ("", ""),
    ],
)
def test_expansion_is_kubernetes_own(text, wanted):
    assert environments.expand(text, {"A": "1"}) == wanted


def service(name, namespace, ip, *ports):
    return core.Service(
        metadata=meta.ObjectMeta(name=name, namespace=namespace),
        spec=core.ServiceSpec(clusterIP=ip, ports=ports),
    )


SERVICES = (
    service("kubernetes", "default", "10.96.0.1", core.ServicePort(name="https", port=443)),
    service("db-main", "shop", "10.96.7.7", core.ServicePort(port=53, protocol="UDP")),
    service("other", "elsewhere", "10.96.8.8", core.ServicePort(port=1)),
    service("headless", "shop", "None", core.ServicePort(port=1)),
)


def test_service_variables_are_docker_links_and_kubernetes_is_always_there():
    found = environments.service_variables(SERVICES, "shop", links=True)
    assert found["DB_MAIN_SERVICE_HOST"] == "10.96.7.7"
    assert found["DB_MAIN_PORT"] == found["DB_MAIN_PORT_53_UDP"] == "udp://10.96.7.7:53"
    assert found["DB_MAIN_PORT_53_UDP_PROTO"] == "udp"
    assert found["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert not [name for name in found if name.startswith(("OTHER", "HEADLESS"))]
    bare = environments.service_variables(SERVICES, "shop", links=False)
    assert {name.split("_")[0] for name in bare} == {"KUBERNETES"}


def test_variables_from_everywhere_later_ones_over_earlier_ones(me, given):
    contents = {
        S("ConfigMap", "settings"): {"COLOUR": b"red", "SIZE": b"3"},
        S("Secret", "key"): {"pin": b"1234"},
        S("ConfigMap", "none"): None,
    }
    ref = core.ConfigMapEnvSource
    container = given.container(
        envFrom=(
            core.EnvFromSource(prefix="CM_", configMapRef=ref(name="settings")),
            core.EnvFromSource(configMapRef=ref(name="none", optional=True)),
        ),
        env=(
            core.EnvVar(name="CM_SIZE", value="4"),
            core.EnvVar(name="ALL", value="$(CM_COLOUR) $(CM_SIZE) $(KUBERNETES_SERVICE_HOST) $(NOT)"),
            core.EnvVar(
                name="PIN",
                valueFrom=core.EnvVarSource(secretKeyRef=core.SecretKeySelector(name="key", key="pin")),
            ),
            core.EnvVar(
                name="IP",
                valueFrom=core.EnvVarSource(fieldRef=core.ObjectFieldSelector(fieldPath="status.podIP")),
            ),
        ),
    )
    assert environments.sources(container) == contents.keys()
    found = dict(
        environments.compose(me, container, contents, {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "IP": "no"})
    )
    assert found == {
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "CM_COLOUR": "red",
        "CM_SIZE": "4",
        "ALL": "red 4 10.96.0.1 $(NOT)",
        "PIN": "1234",
        "IP": "10.244.1.5",
    }


@pytest.mark.parametrize(
    ("table", "said"),
    [(None, 'configmap "x" not found'), ({}, "couldn't find key k in ConfigMap default/x")],
)
def test_what_is_missing_is_named(me, given, table, said):
    origin = core.EnvVarSource(configMapKeyRef=core.ConfigMapKeySelector(name="x", key="k"))
    container = given.container(env=(core.EnvVar(name="A", valueFrom=origin),))
    with pytest.raises(environments.Missing, match=said.replace('"', '"')):
        environments.compose(me, container, {S("ConfigMap", "x"): table}, {})


def test_secrets_are_decoded():
    text = base64.b64encode(b"\x00\xff").decode()
    assert environments.content(core.Secret(data={"k": text})) == {"k": b"\x00\xff"}
    both = core.ConfigMap(data={"a": "ä"}, binaryData={"b": text})
    assert environments.content(both) == {"a": "ä".encode(), "b": b"\x00\xff"}


NODE = etc.parse("# the node's\nsearch lab.example\nnameserver 192.0.2.53\noptions timeout:1\n")
DOMAIN = "cluster.local"
DNS = ("10.96.0.10",)


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (
            {},
            "search default.svc.cluster.local svc.cluster.local cluster.local lab.example\n"
            "nameserver 10.96.0.10\noptions ndots:5\n",
        ),
        ({"dnsPolicy": "Default"}, "search lab.example\nnameserver 192.0.2.53\noptions timeout:1\n"),
        ({"hostNetwork": True}, "search lab.example\nnameserver 192.0.2.53\noptions timeout:1\n"),
        (
            {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"},
            "search default.svc.cluster.local svc.cluster.local cluster.local lab.example\n"
            "nameserver 10.96.0.10\noptions ndots:5\n",
        ),
        (
            {
                "dnsPolicy": "None",
                "dnsConfig": core.PodDNSConfig(
                    nameservers=("192.0.2.1",),
                    searches=("a.example",),
                    options=(
                        core.PodDNSConfigOption(name="ndots", value="2"),
                        core.PodDNSConfigOption(name="edns0"),
                    ),
                ),
            },
            "search a.example\nnameserver 192.0.2.1\noptions ndots:2 edns0\n",
        ),
        (
            {"dnsConfig": core.PodDNSConfig(options=(core.PodDNSConfigOption(name="ndots", value="1"),))},
            "search default.svc.cluster.local svc.cluster.local cluster.local lab.example\n"
            "nameserver 10.96.0.10\noptions ndots:1\n",
        ),
    ],
)
def test_resolv_conf(given, spec, wanted):
    assert etc.resolv_conf(given.pod(**spec), NODE, DNS, "cluster.local") == wanted


def test_hosts(given):
    aliases = (core.HostAlias(ip="192.0.2.7", hostnames=("a", "b")),)
    text = etc.hosts(given.pod(hostAliases=aliases), "node's own", "cluster.local")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "@addresses\tweb\n" in text
    assert text.endswith("# Entries added by HostAliases.\n192.0.2.7\ta\tb\n")
    assert "node's own" in etc.hosts(given.pod(hostNetwork=True), "node's own", "cluster.local")
    assert etc.hostname(given.pod(about={"name": "x" * 70}), "n1", DOMAIN) == "x" * 63
    assert etc.hostname(given.pod(hostNetwork=True), "n1", DOMAIN) == "n1"


def test_a_pod_with_a_subdomain_has_a_full_name(given):
    pod = given.pod(hostname="h", subdomain="sub")
    full = "h.sub.default.svc.cluster.local"
    assert f"@addresses\t{full}\th\n" in etc.hosts(pod, "", DOMAIN)
    assert etc.hostname(pod, "n1", DOMAIN) == "h"
    whole = given.pod(hostname="h", subdomain="sub", setHostnameAsFQDN=True)
    assert etc.hostname(whole, "n1", DOMAIN) == full
    with pytest.raises(errors.Rejected, match=r"is too long \(64 characters is the max, 8\d characters"):
        etc.hostname(given.pod(hostname="h" * 60, subdomain="s", setHostnameAsFQDN=True), "n1", DOMAIN)


def test_the_service_account_volume(me, tmp_path):
    projected = core.ProjectedVolumeSource(
        sources=(
            core.VolumeProjection(
                serviceAccountToken=core.ServiceAccountTokenProjection(path="token", expirationSeconds=3607)
            ),
            core.VolumeProjection(
                configMap=core.ConfigMapProjection(
                    name="kube-root-ca.crt", items=(core.KeyToPath(key="ca.crt", path="ca.crt"),)
                )
            ),
            core.VolumeProjection(
                downwardAPI=core.DownwardAPIProjection(
                    items=(
                        core.DownwardAPIVolumeFile(
                            path="namespace",
                            fieldRef=core.ObjectFieldSelector(fieldPath="metadata.namespace"),
                        ),
                    )
                )
            ),
        ),
        defaultMode=0o444,
    )
    volume = core.Volume(name="api", projected=projected)
    assert volumes.sources(volume) == {S("ConfigMap", "kube-root-ca.crt")}
    (token,) = volumes.tokens(volume)
    contents = {S("ConfigMap", "kube-root-ca.crt"): {"ca.crt": b"CERT", "other": b"no"}}
    wanted = volumes.realize(me, volume, str(tmp_path), contents, {token: "JWT"})
    disk.publish(wanted)
    there = {name: (tmp_path.joinpath(wanted.path, name)).read_text() for name in wanted.files}
    assert there == {"token": "JWT", "ca.crt": "CERT", "namespace": "default"}
    assert os.stat(os.path.join(wanted.path, "token")).st_mode & 0o777 == 0o444


def test_a_published_volume_changes_in_one_step(tmp_path):
    def files(**texts):
        return volumes.Directory(
            str(tmp_path / "v"), {name: volumes.File(t.encode(), 0o644) for name, t in texts.items()}
        )

    disk.publish(files(a="1", b="1"))
    first = os.readlink(tmp_path / "v" / "..data")
    disk.publish(files(a="1", b="1"))
    assert os.readlink(tmp_path / "v" / "..data") == first  # nothing to do, nothing touched
    with open(tmp_path / "v" / "a") as reader:
        disk.publish(files(a="2", c="2"))
        assert reader.read() == "1"  # who has it open keeps the old one
    names = sorted(name for name in os.listdir(tmp_path / "v") if not name.startswith(".."))
    assert names == ["a", "c"]
    assert (tmp_path / "v" / "a").read_text() == "2"
    assert not (tmp_path / "v" / first).exists()


@pytest.mark.parametrize("path", ["../x", "/etc/x", "..data/x"])
def test_a_volume_s_files_stay_inside_it(tmp_path, path):
    with pytest.raises(errors.Rejected):
        disk.publish(volumes.Directory(str(tmp_path / "v"), {path: volumes.File(b"", 0o644)}))


def test_mounts(me, given):
    mount = core.VolumeMount
    container = given.container(
        volumeMounts=(
            mount(name="data", mountPath="/data"),
            mount(name="data", mountPath="logs", subPathExpr="$(POD)/logs", readOnly=True),
        )
    )
    found = volumes.mounts(container, {"data": "/var/x"}, {"POD": "web"})
    assert [(m.host_path, m.container_path, m.readonly) for m in found] == [
        ("/var/x", "/data", False),
        ("/var/x/web/logs", "/logs", True),
    ]
    for bad in (mount(name="none", mountPath="/x"), mount(name="data", mountPath="/x", subPath="../..")):
        with pytest.raises(errors.Rejected):
            volumes.mounts(given.container(volumeMounts=(bad,)), {"data": "/var/x"}, {})


def test_host_paths_are_checked(tmp_path):
    disk.check(volumes.HostPath(str(tmp_path / "new"), "DirectoryOrCreate"))
    assert (tmp_path / "new").is_dir()
    for path, kind in ((tmp_path / "new", "File"), (tmp_path / "none", "")):
        with pytest.raises(errors.Rejected):
            disk.check(volumes.HostPath(str(path), kind))


LOG = [
    b"2026-01-01T00:00:00.123456789Z stdout F one\n",
    b"2026-01-01T00:00:01.000000001Z stderr P two-\n",
    b"2026-01-01T00:00:01.000000002Z stderr F three\n",
    b"not a log line\n",
]


def test_log_lines():
    assert b"".join(logs.select(iter(LOG), logs.Wish())) == b"one\ntwo-three\n"
    stamped = b"".join(logs.select(iter(LOG), logs.Wish(timestamps=True)))
    assert stamped.startswith(b"2026-01-01T00:00:00.123456789Z one\n")
    since = logs.Wish(since=1767225600.5)
    assert b"".join(logs.select(iter(LOG), since)) == b"two-three\n"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5000, 40000])
def test_tails_are_found_from_the_end(tmp_path, count):
    lines = [f"line {n} {'x' * (n % 7)}\n" for n in range(30000)]
    path = tmp_path / "log"
    path.write_text("".join(lines))
    with open(path) as file:
        file.seek(logs.tail_offset(str(path), count))
        assert file.read() == "".join(lines[len(lines) - min(count, len(lines)) :])
