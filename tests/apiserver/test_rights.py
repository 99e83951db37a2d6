"""Who may do what: roles, nodes, impersonation, reviews and tokens, by requests and by kubectl."""

import asyncio
import base64
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from netemu.base import clock as clocks
from netemu.client import connect
from netemu.store import sqlite

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
PODS = "/api/v1/namespaces/default/pods"


def role(name: str, *rules: dict[str, Any], namespace: str = "", **more: Any) -> dict[str, Any]:
    kind = "Role" if namespace else "ClusterRole"
    return {
        "kind": kind,
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {}), **more},
        "rules": list(rules),
    }


def bound(name: str, kind: str, of: str, *subjects: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": of},
        "subjects": list(subjects),
    }


def user(name: str, kind: str = "User") -> dict[str, str]:
    return {"kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io"}


READ_PODS = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}


async def bind_everywhere(w: Any, name: str, of: str, *subjects: dict[str, str]) -> None:
    await w.make(
        f"{RBAC}/clusterrolebindings",
        {"kind": "ClusterRoleBinding", **bound(name, "ClusterRole", of, *subjects)},
    )


async def bind_here(w: Any, name: str, of: str, *subjects: dict[str, str], kind: str = "ClusterRole") -> None:
    path = f"{RBAC}/namespaces/default/rolebindings"
    await w.make(path, {"kind": "RoleBinding", **bound(name, kind, of, *subjects)})


async def may(w: Any, who: str, groups: tuple[str, ...], verb: str, what: str, *where: str) -> bool:
    """By SubjectAccessReview; `what` is resource.group/subresource:name, or a path."""
    spec: dict[str, Any] = {"user": who, "groups": list(groups)}
    if what.startswith("/"):
        spec["nonResourceAttributes"] = {"verb": verb, "path": what}
    else:
        what, _, name = what.partition(":")
        what, _, sub = what.partition("/")
        resource, _, group = what.partition(".")
        spec["resourceAttributes"] = {
            "verb": verb,
            "resource": resource,
            "group": group,
            "subresource": sub,
            "name": name,
            "namespace": "".join(where),
        }
    found: bool = (await w.make(ACCESS, {"spec": spec}))["status"]["allowed"]
    return found


def test_decisions(world: Any) -> None:
    """By kubernetes.io/docs/reference/access-authn-authz/rbac: default roles and how rules are read."""
    known = ("system:authenticated",)
    rows = [
        ("ann", known, "get", "pods", "default", False),
        ("ann", known, "get", "/api", "", True),
        ("ann", known, "get", "/apis/apps/v1", "", True),
        ("ann", known, "get", "/metrics", "", False),
        ("ann", known, "create", "selfsubjectaccessreviews.authorization.k8s.io", "", True),
        ("ann", (), "get", "/api", "", False),
        ("system:anonymous", ("system:unauthenticated",), "get", "/healthz", "", True),
        ("system:anonymous", ("system:unauthenticated",), "get", "/api", "", False),
        ("root", ("system:masters",), "anything", "whatever.example", "", True),
        ("viewer", known, "list", "pods", "", True),
        ("viewer", known, "get", "pods/log", "default", True),
        ("viewer", known, "list", "secrets", "default", False),
        ("viewer", known, "list", "nodes", "", False),
        ("editor", known, "create", "deployments.apps", "default", True),
        ("editor", known, "create", "deployments.apps", "kube-system", False),
        ("editor", known, "get", "secrets", "default", True),
        ("editor", known, "create", "pods/exec", "default", True),
        ("editor", known, "create", "roles.rbac.authorization.k8s.io", "default", False),
        ("x", ("owners",), "create", "roles.rbac.authorization.k8s.io", "default", True),
        ("x", ("owners",), "delete", "namespaces", "", False),
        ("narrow", known, "get", "configmaps:mine", "default", True),
        ("narrow", known, "get", "configmaps:other", "default", False),
        ("narrow", known, "list", "configmaps", "default", False),
        ("narrow", known, "get", "things.example/scale", "default", True),
        ("narrow", known, "get", "things.example", "default", False),
        ("system:serviceaccount:default:bot", (), "list", "pods", "default", True),
        ("system:serviceaccount:other:bot", (), "list", "pods", "default", False),
        ("system:kube-scheduler", (), "create", "pods/binding", "default", True),
        ("system:kube-scheduler", (), "create", "pods", "default", False),
        ("system:kube-controller-manager", (), "create", "pods", "default", True),
        ("system:serviceaccount:kube-system:replicaset-controller", (), "create", "pods", "default", True),
        ("system:serviceaccount:kube-system:replicaset-controller", (), "create", "secrets", "", False),
        ("system:kube-proxy", (), "watch", "endpointslices.discovery.k8s.io", "", True),
    ]

    async def story(w: Any) -> None:
        await bind_everywhere(w, "viewers", "view", user("viewer"))
        await bind_here(w, "editors", "edit", user("editor"))
        await bind_here(w, "owners", "admin", user("owners", "Group"))
        mine = {"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"]}
        scale = {"verbs": ["get"], "apiGroups": ["*"], "resources": ["*/scale"]}
        await w.make(f"{RBAC}/namespaces/default/roles", role("narrow", mine, scale, namespace="default"))
        await bind_here(w, "narrow", "narrow", user("narrow"), kind="Role")
        await w.make(f"{RBAC}/clusterroles", role("pods", READ_PODS))
        await bind_here(w, "bots", "pods", {"kind": "ServiceAccount", "name": "bot", "namespace": "default"})
        for who, groups, verb, what, namespace, expected in rows:
            assert await may(w, who, groups, verb, what, namespace) is expected, (who, verb, what)
        await w.ask("DELETE", f"{RBAC}/clusterrolebindings/viewers")
        assert not await may(w, "viewer", known, "list", "pods")
        await w.ask("PATCH", f"{RBAC}/clusterroles/pods", {"rules": []})
        assert not await may(w, "system:serviceaccount:default:bot", (), "list", "pods", "default")

    world(story)


def test_roles_are_aggregated(world: Any) -> None:
    async def story(w: Any) -> None:
        await bind_everywhere(w, "viewers", "view", user("viewer"))
        widget = {"verbs": ["list"], "apiGroups": ["example.com"], "resources": ["widgets"]}
        label = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
        await w.make(f"{RBAC}/clusterroles", role("widgets", widget, labels=label))
        async with asyncio.timeout(5):
            while not await may(w, "viewer", (), "list", "widgets.example.com"):
                await asyncio.sleep(0.01)
            while widget not in (await w.ask("GET", f"{RBAC}/clusterroles/admin")).body["rules"]:
                await asyncio.sleep(0.01)  # through edit
        await w.ask("DELETE", f"{RBAC}/clusterroles/widgets")
        async with asyncio.timeout(5):
            while await may(w, "viewer", (), "list", "widgets.example.com"):
                await asyncio.sleep(0.01)

    world(story)


def test_rights_are_not_given_away_by_who_has_them_not(world: Any) -> None:
    async def story(w: Any) -> None:
        await bind_here(w, "admins", "admin", user("boss"))
        boss = w.server.local_client("boss")
        roles, bindings = (f"{RBAC}/namespaces/default/{plural}" for plural in ("roles", "rolebindings"))
        held = await w.ask("POST", roles, role("a", READ_PODS, namespace="default"), client=boss)
        assert held.status == 201
        nodes = {"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]}
        refused = await w.ask("POST", roles, role("b", nodes, namespace="default"), client=boss)
        assert refused.status == 403
        assert refused.message == (
            'roles.rbac.authorization.k8s.io "b" is forbidden: user "boss" (groups=["system:authenticated"])'
            " is attempting to grant RBAC permissions not currently held:\n"
            '{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}'
        )
        wide = {"kind": "RoleBinding", **bound("c", "ClusterRole", "cluster-admin", user("boss"))}
        assert (await w.ask("POST", bindings, wide, client=boss)).status == 403
        fine = {"kind": "RoleBinding", **bound("c", "ClusterRole", "edit", user("other"))}
        assert (await w.ask("POST", bindings, fine, client=boss)).status == 201
        moved = await w.ask("PATCH", f"{bindings}/c", {"roleRef": {"name": "view"}})
        assert (moved.status, "cannot change roleRef" in moved.message) == (422, True)
        widen = await w.ask("PATCH", f"{roles}/a", {"rules": [nodes]}, client=boss)
        assert widen.status == 403
        bind = {"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"]}
        await w.make(f"{RBAC}/clusterroles", role("binder", bind))
        await bind_here(w, "binders", "binder", user("boss"))
        wide["metadata"]["name"] = "d"
        assert (await w.ask("POST", bindings, wide, client=boss)).status == 201

    world(story)


def test_a_node_may_what_its_pods_need(world: Any) -> None:
    async def story(w: Any) -> None:
        volume = {"name": "v", "configMap": {"name": "needed"}}
        await w.make(PODS, w.pod("here", nodeName="one", volumes=[volume]))
        await w.make(PODS, w.pod("there", nodeName="two"))
        who, groups = "system:node:one", ("system:nodes", "system:authenticated")
        rows = [
            ("get", "configmaps:needed", "default", True),
            ("get", "configmaps:kube-root-ca.crt", "default", True),
            ("get", "configmaps:other", "default", False),
            ("list", "configmaps", "default", False),
            ("get", "secrets:any", "default", False),
            ("create", "serviceaccounts/token:default", "default", True),
            ("create", "serviceaccounts/token:other", "default", False),
            ("create", "serviceaccounts/token:default", "kube-system", False),
            ("list", "pods", "", True),
            ("patch", "pods/status:here", "default", True),
            ("patch", "pods/status:there", "default", False),
            ("delete", "pods:there", "default", False),
            ("patch", "nodes/status:one", "", True),
            ("patch", "nodes/status:two", "", False),
            ("delete", "nodes:one", "", False),
            ("update", "leases.coordination.k8s.io:one", "kube-node-lease", True),
            ("update", "leases.coordination.k8s.io:two", "kube-node-lease", False),
            ("watch", "endpointslices.discovery.k8s.io", "", True),
            ("create", "deployments.apps", "default", False),
        ]
        for verb, what, namespace, expected in rows:
            assert await may(w, who, groups, verb, what, namespace) is expected, (verb, what)
        assert not await may(w, who, (), "get", "configmaps:needed", "default")
        await w.ask("DELETE", f"{PODS}/here?gracePeriodSeconds=0")
        assert not await may(w, who, groups, "get", "configmaps:needed", "default")

    world(story)


def test_impersonation(world: Any) -> None:
    async def story(w: Any) -> None:
        async def whoami(client: Any = None, **asked: str) -> Any:
            headers = tuple((f"impersonate-{key.replace('_', '-')}", value) for key, value in asked.items())
            path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
            return await w.ask("POST", path, {}, headers=headers, client=client)

        seen = (await whoami(user="ann", group="devs", uid="7", extra_scopes="read")).body["status"][
            "userInfo"
        ]
        assert seen == {
            "username": "ann",
            "uid": "7",
            "groups": ["devs", "system:authenticated"],
            "extra": {"scopes": ["read"]},
        }
        account = (await whoami(user="system:serviceaccount:ns:bot")).body["status"]["userInfo"]
        assert account["groups"] == [
            "system:serviceaccounts",
            "system:serviceaccounts:ns",
            "system:authenticated",
        ]
        assert (await whoami(group="devs")).status == 400
        plain = w.server.local_client("plain")
        refused = await whoami(plain, user="ann")
        assert refused.status == 403
        assert refused.message == (
            'users "ann" is forbidden: User "plain" cannot impersonate resource "users" in API group "" '
            "at the cluster scope"
        )
        named = {
            "verbs": ["impersonate"],
            "apiGroups": [""],
            "resources": ["users"],
            "resourceNames": ["ann"],
        }
        await w.make(f"{RBAC}/clusterroles", role("as-ann", named))
        await bind_everywhere(w, "as-ann", "as-ann", user("plain"))
        assert (await whoami(plain, user="ann")).status == 201
        assert (await whoami(plain, user="bob")).status == 403
        assert (await whoami(plain, user="ann", group="system:masters")).status == 403

    world(story)


def test_rules_of_ones_own(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(f"{RBAC}/clusterroles", role("pods", READ_PODS))
        await bind_here(w, "pods", "pods", user("ann"))
        ann = w.server.local_client("ann")
        here = (await w.ask("POST", RULES, {"spec": {"namespace": "default"}}, client=ann)).body["status"]
        assert READ_PODS in here["resourceRules"]
        assert here["incomplete"] is False
        there = (await w.ask("POST", RULES, {"spec": {"namespace": "kube-public"}}, client=ann)).body[
            "status"
        ]
        assert READ_PODS not in there["resourceRules"]
        assert (await w.ask("POST", RULES, {"spec": {}}, client=ann)).status == 400
        local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews"
        about = {"namespace": "default", "verb": "get", "resource": "pods"}
        spec = {"user": "ann", "resourceAttributes": about}
        assert (await w.make(local, {"spec": spec}))["status"]["allowed"] is True
        spec["resourceAttributes"] = {**about, "namespace": "kube-public"}
        assert (await w.ask("POST", local, {"spec": spec})).status == 422

    world(story)


def test_tokens_are_for_whom_and_as_long_as_they_say(world: Any) -> None:
    async def story(w: Any) -> None:
        async def review(token: str, *audiences: str) -> Any:
            path = "/apis/authentication.k8s.io/v1/tokenreviews"
            spec = {"token": token, **({"audiences": list(audiences)} if audiences else {})}
            return (await w.make(path, {"spec": spec}))["status"]

        async def issue(**spec: Any) -> Any:
            return await w.ask("POST", f"{ACCOUNT}/token", {"spec": spec})

        vault = (await issue(audiences=["vault"], expirationSeconds=600)).body["status"]["token"]
        assert (await review(vault, "vault", "x"))["audiences"] == ["vault"]
        assert not (await review(vault)).get("authenticated")
        async with connect.over(w.url, w.authority.certificate) as client:
            bearer = (("authorization", f"Bearer {vault}"),)
            assert (await client.raw("GET", "/api", headers=bearer)).status == 401
        secret = {"kind": "Secret", "metadata": {"name": "s"}, "apiVersion": "v1"}
        await w.make("/api/v1/namespaces/default/secrets", secret)
        tied = (await issue(boundObjectRef={"kind": "Secret", "apiVersion": "v1", "name": "s"})).body[
            "status"
        ]
        assert (await review(tied["token"]))["authenticated"]
        await w.ask("DELETE", "/api/v1/namespaces/default/secrets/s")
        assert not (await review(tied["token"])).get("authenticated")
        rows = [
            ({"expirationSeconds": 599}, 422),
            ({"expirationSeconds": 1 << 33}, 422),
            ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "ghost"}}, 404),
            ({"boundObjectRef": {"kind": "ConfigMap", "apiVersion": "v1", "name": "x"}}, 400),
        ]
        for spec, code in rows:
            assert (await issue(**spec)).status == code, spec
        w.clock.advance(601)
        assert not (await review(vault, "vault")).get("authenticated")

    world(story)


def test_bootstrap_tokens(world: Any) -> None:
    async def story(w: Any) -> None:
        data = {
            "token-id": "abcdef",
            "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:workers",
            "expiration": clocks.rfc3339(w.clock.now() + 60),
        }
        secret = {
            "kind": "Secret",
            "apiVersion": "v1",
            "metadata": {"name": "bootstrap-token-abcdef"},
            "type": "bootstrap.kubernetes.io/token",
            "data": {name: base64.b64encode(text.encode()).decode() for name, text in data.items()},
        }
        await w.make("/api/v1/namespaces/kube-system/secrets", secret)
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        async with connect.over(w.url, w.authority.certificate) as client:
            bearer = (("authorization", "Bearer abcdef.0123456789abcdef"),)
            who = (await w.ask("POST", path, {}, headers=bearer, client=client)).body["status"]["userInfo"]
            assert who == {
                "username": "system:bootstrap:abcdef",
                "groups": ["system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"],
            }
            wrong = (("authorization", "Bearer abcdef.0123456789abcdee"),)
            assert (await w.ask("POST", path, {}, headers=wrong, client=client)).status == 401
            w.clock.advance(61)
            assert (await w.ask("POST", path, {}, headers=bearer, client=client)).status == 401

    world(story)


def test_what_people_ask_with_kubectl(world: Any) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl on the PATH")

    async def story(w: Any) -> None:
        env = {**os.environ, "KUBECONFIG": str(w.kubeconfig()), "HOME": str(w.directory)}

        async def k(*args: str) -> tuple[int, str]:
            process = await asyncio.create_subprocess_exec(
                kubectl, *args, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            out, _ = await process.communicate()
            return process.returncode or 0, out.decode()

        assert (await k("auth", "can-i", "delete", "nodes"))[1].strip().endswith("yes")
        assert (await k("auth", "can-i", "list", "pods", "--as=ann"))[0] == 1
        assert (await k("create", "serviceaccount", "bot"))[0] == 0
        made = await k("create", "rolebinding", "bots", "--clusterrole=view", "--serviceaccount=default:bot")
        assert made[0] == 0, made
        bot = "--as=system:serviceaccount:default:bot"
        assert (await k("auth", "can-i", "list", "pods", bot))[1].strip() == "yes"
        assert (await k("auth", "can-i", "list", "pods", bot, "-n", "kube-system"))[1].strip() == "no"
        code, out = await k("auth", "can-i", "--list", bot)
        assert code == 0
        assert any(line.startswith("pods ") and "[get list watch]" in line for line in out.splitlines()), out
        code, out = await k("get", "secrets", bot)
        assert (code, "cannot list resource" in out) == (1, True)
        code, token = await k("create", "token", "bot", "--duration=20m")
        assert (code, token.count(".")) == (0, 2)
        code, out = await k("auth", "whoami", bot, "-o", "jsonpath={.status.userInfo.username}")
        assert (code, out) == (0, "system:serviceaccount:default:bot")
        assert (await k("create", "clusterrole", "pods", "--verb=get,list", "--resource=pods"))[0] == 0

    world(story, timeout=120)


def test_what_every_cluster_has_is_valid(world: Any) -> None:
    """It was stored unchecked: what is read must be accepted, and not changed, when written."""

    async def story(w: Any) -> None:
        seen = 0
        for plural in ("clusterroles", "clusterrolebindings", "roles", "rolebindings"):
            for found in (await w.ask("GET", f"{RBAC}/{plural}")).body["items"]:
                about = found["metadata"]
                within = f"namespaces/{about['namespace']}/" if "namespace" in about else ""
                path = f"{RBAC}/{within}{plural}/{about['name']}?fieldValidation=Strict"
                again = await w.ask(
                    "PUT", path, {"kind": plural_kind(plural), **found, "apiVersion": RBAC[6:]}
                )
                assert again.status == 200, again.body
                changed = {key for key in again.body if key not in ("kind", "apiVersion", "metadata")}
                assert all(again.body[key] == found[key] for key in changed), about["name"]
                seen += 1
        assert seen > 100

    world(story)


def plural_kind(plural: str) -> str:
    return {"cl": "ClusterRole", "ro": "Role"}[plural[:2]] + ("Binding" if "bindings" in plural else "")


def test_default_roles_are_put_right_at_a_start(world: Any, tmp_path: Path) -> None:
    """What is missing comes back, what was added stays; autoupdate "false" is left alone."""
    versions: list[Any] = []
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    own = {"apiGroups": ["example.com"], "resources": ["wheels"], "verbs": ["get"]}
    ann = {"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}

    async def before(w: Any) -> None:
        await w.ask("PATCH", f"{roles}/system:basic-user", {"rules": [own], "metadata": {"labels": None}})
        kept = {"rbac.authorization.kubernetes.io/autoupdate": "false"}
        await w.ask("PATCH", f"{roles}/system:discovery", {"rules": [own], "metadata": {"annotations": kept}})
        await w.ask("PATCH", f"{bindings}/cluster-admin", {"subjects": [ann]})
        await w.ask("DELETE", f"{roles}/system:monitoring")

    async def after(w: Any) -> None:
        basic = (await w.ask("GET", f"{roles}/system:basic-user")).body
        assert basic["rules"][0] == own
        found = {r for rule in basic["rules"][1:] for r in rule["resources"]}
        assert found == {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}
        assert basic["metadata"]["labels"] == {"kubernetes.io/bootstrapping": "rbac-defaults"}
        assert (await w.ask("GET", f"{roles}/system:discovery")).body["rules"] == [own]
        subjects = (await w.ask("GET", f"{bindings}/cluster-admin")).body["subjects"]
        assert [one["name"] for one in subjects] == ["ann", "system:masters"]
        assert (await w.ask("GET", f"{roles}/system:monitoring")).status == 200
        versions.append([one["metadata"] for one in (await w.ask("GET", roles)).body["items"]])

    async def again(w: Any) -> None:
        assert [one["metadata"] for one in (await w.ask("GET", roles)).body["items"]] == versions[0]

    for story in (before, after, again):
        world(story, store=sqlite.open(tmp_path / "store.db"))
