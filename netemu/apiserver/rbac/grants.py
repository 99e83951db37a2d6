"""Who may do what in every cluster, as tables in a short notation which `policy` reads.

Same names and rights as upstream's defaults (kubernetes.io/docs/reference/access-authn-authz/rbac), plus one
of our own for the agents on nodes. A line is `verbs | groups | resources` or `verbs | paths`; `-` is the
core group, `[x]` ends a line that is about the objects named x only.
"""

_READ = "get list watch"
_WRITE = "create delete deletecollection patch update"
_EVENTS = "create patch update | - events.k8s.io | events"
_REVIEWS = (
    "create | authentication.k8s.io | tokenreviews",
    "create | authorization.k8s.io | subjectaccessreviews",
)
_APPS = "daemonsets deployments {}deployments/scale replicasets replicasets/scale"
_STATEFUL = "statefulsets statefulsets/scale"
_APPS_STATUS = "daemonsets/status deployments/status replicasets/status"
_SIGNERS = "certificates.k8s.io"

USERS: dict[str, tuple[str, ...]] = {
    "cluster-admin": ("* | * | *", "* | *"),
    "system:aggregate-to-admin": (
        "create | authorization.k8s.io | localsubjectaccessreviews",
        f"{_WRITE} {_READ} | rbac.authorization.k8s.io | rolebindings roles",
    ),
    "system:aggregate-to-edit": (
        f"{_READ} | - | pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy",
        "impersonate | - | serviceaccounts",
        f"{_WRITE} | - | pods pods/attach pods/exec pods/portforward pods/proxy",
        "create | - | pods/eviction serviceaccounts/token",
        f"{_WRITE} | - | configmaps events persistentvolumeclaims replicationcontrollers"
        " replicationcontrollers/scale secrets serviceaccounts services services/proxy",
        f"{_WRITE} | apps | {_APPS.format('deployments/rollback ')} {_STATEFUL}",
        f"{_WRITE} | autoscaling | horizontalpodautoscalers",
        f"{_WRITE} | batch | cronjobs jobs",
        f"{_WRITE} | policy | poddisruptionbudgets",
        f"{_WRITE} | networking.k8s.io | ingresses networkpolicies",
        f"{_WRITE} {_READ} | coordination.k8s.io | leases",
    ),
    "system:aggregate-to-view": (
        f"{_READ} | - | configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods"
        " replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
        f"{_READ} | - | bindings events limitranges namespaces/status pods/log pods/status"
        " replicationcontrollers/status resourcequotas resourcequotas/status namespaces",
        f"{_READ} | discovery.k8s.io | endpointslices",
        f"{_READ} | apps | controllerrevisions {_APPS.format('')} {_STATEFUL} {_APPS_STATUS}"
        " statefulsets/status",
        f"{_READ} | autoscaling | horizontalpodautoscalers horizontalpodautoscalers/status",
        f"{_READ} | batch | cronjobs cronjobs/status jobs jobs/status",
        f"{_READ} | policy | poddisruptionbudgets poddisruptionbudgets/status",
        f"{_READ} | networking.k8s.io | ingresses ingresses/status networkpolicies",
    ),
    "system:auth-delegator": _REVIEWS,
    "system:basic-user": (
        "create | authorization.k8s.io | selfsubjectaccessreviews selfsubjectrulesreviews",
        "create | authentication.k8s.io | selfsubjectreviews",
    ),
    "system:discovery": (
        "get | /api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/",
    ),
    "system:monitoring": (
        "get | /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*",
    ),
    "system:public-info-viewer": ("get | /healthz /livez /readyz /version /version/",),
    "system:service-account-issuer-discovery": ("get | /.well-known/openid-configuration /openid/v1/jwks",),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        f"create | {_SIGNERS} | certificatesigningrequests/nodeclient",
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        f"create | {_SIGNERS} | certificatesigningrequests/selfnodeclient",
    ),
    **{
        f"system:certificates.k8s.io:{signer}-approver": (
            f"approve | {_SIGNERS} | signers [kubernetes.io/{signer}]",
        )
        for signer in (
            "kube-apiserver-client",
            "kube-apiserver-client-kubelet",
            "kubelet-serving",
            "legacy-unknown",
        )
    },
}

COMPONENTS: dict[str, tuple[str, ...]] = {
    "system:heapster": (f"{_READ} | - | events namespaces nodes pods",),
    "system:kube-aggregator": (f"{_READ} | - | endpoints services",),
    "system:kube-controller-manager": (
        _EVENTS,
        "create | coordination.k8s.io | leases",
        "get update | coordination.k8s.io | leases [kube-controller-manager]",
        "create get update | - | secrets serviceaccounts",
        "delete | - | secrets",
        "get | - | configmaps namespaces",
        *_REVIEWS,
        "list watch | * | *",
        "create | - | serviceaccounts/token",
    ),
    "system:kube-dns": ("list watch | - | endpoints services",),
    "system:kube-scheduler": (
        _EVENTS,
        "create | coordination.k8s.io | leases",
        "get update list watch | coordination.k8s.io | leases [kube-scheduler]",
        f"{_READ} | - | nodes namespaces replicationcontrollers services persistentvolumeclaims"
        " persistentvolumes",
        f"delete {_READ} | - | pods",
        "create | - | bindings pods/binding",
        "patch update | - | pods/status",
        f"{_READ} | apps | replicasets statefulsets",
        f"{_READ} | policy | poddisruptionbudgets",
        *_REVIEWS,
        f"{_READ} | storage.k8s.io | csinodes csidrivers csistoragecapacities volumeattachments",
    ),
    "system:volume-scheduler": (
        f"{_READ} patch update | - | persistentvolumes persistentvolumeclaims",
        f"{_READ} | storage.k8s.io | storageclasses",
    ),
    "system:persistent-volume-provisioner": (
        f"create delete {_READ} | - | persistentvolumes",
        f"{_READ} update | - | persistentvolumeclaims",
        f"{_READ} | storage.k8s.io | storageclasses",
        "watch | - | events",
        _EVENTS,
    ),
    "system:kubelet-api-admin": (
        f"{_READ} proxy | - | nodes",
        "* | - | nodes/log nodes/metrics nodes/proxy nodes/stats",
    ),
    "system:node": (
        "create | authentication.k8s.io | tokenreviews",
        "create | authorization.k8s.io | localsubjectaccessreviews subjectaccessreviews",
        f"{_READ} | - | services",
        f"create patch update {_READ} | - | nodes",
        "patch update | - | nodes/status pods/status",
        "create patch update | - | events",
        f"create delete {_READ} | - | pods",
        "create | - | pods/eviction serviceaccounts/token",
        f"{_READ} | - | configmaps secrets",
        "get | - | persistentvolumeclaims persistentvolumes endpoints",
        f"create {_READ} | {_SIGNERS} | certificatesigningrequests",
        "create delete get patch update | coordination.k8s.io | leases",
        "get | storage.k8s.io | volumeattachments",
        "get patch update | - | persistentvolumeclaims/status",
        f"{_READ} | storage.k8s.io | csidrivers",
        "create delete get patch update | storage.k8s.io | csinodes",
        f"{_READ} | node.k8s.io | runtimeclasses",
    ),
    "system:node-bootstrapper": (f"create {_READ} | {_SIGNERS} | certificatesigningrequests",),
    "system:node-problem-detector": ("get | - | nodes", "patch | - | nodes/status", _EVENTS),
    "system:node-proxier": (
        "list watch | - | endpoints services",
        f"{_READ} | - | nodes",
        _EVENTS,
        "list watch | discovery.k8s.io | endpointslices",
        "list watch | networking.k8s.io | servicecidrs",
    ),
    # Ours: an agent is kubelet, proxy, pod network and policy enforcement of its node in one process.
    "netemu:node-agent": (
        f"{_READ} | - | namespaces nodes pods services endpoints",
        f"{_READ} | networking.k8s.io | networkpolicies servicecidrs ingresses ingressclasses",
        f"{_READ} | policy.networking.k8s.io | clusternetworkpolicies",
        f"{_READ} | discovery.k8s.io | endpointslices",
        "get | k8s.cni.cncf.io | network-attachment-definitions",
        _EVENTS,
    ),
}

CONTROLLERS: dict[str, tuple[str, ...]] = {
    "attachdetach-controller": (
        "list watch | - | persistentvolumes persistentvolumeclaims pods",
        f"{_READ} | - | nodes",
        "patch update | - | nodes/status",
        f"create delete {_READ} | storage.k8s.io | volumeattachments",
        f"{_READ} | storage.k8s.io | csidrivers csinodes",
        _EVENTS,
    ),
    "certificate-controller": (
        f"delete {_READ} | {_SIGNERS} | certificatesigningrequests",
        f"update | {_SIGNERS} | certificatesigningrequests/approval certificatesigningrequests/status",
        f"approve sign | {_SIGNERS} | signers",
        "create | authorization.k8s.io | subjectaccessreviews",
        _EVENTS,
    ),
    "clusterrole-aggregation-controller": (
        f"escalate patch update {_READ} | rbac.authorization.k8s.io | clusterroles",
    ),
    "cronjob-controller": (
        f"update {_READ} | batch | cronjobs",
        f"create delete patch update {_READ} | batch | jobs",
        "update | batch | cronjobs/status cronjobs/finalizers",
        "list watch delete | - | pods",
        _EVENTS,
    ),
    "daemon-set-controller": (
        f"{_READ} | apps | daemonsets",
        "update | apps | daemonsets/status daemonsets/finalizers",
        "list watch | - | nodes",
        "list watch create delete patch | - | pods",
        "create | - | pods/binding",
        f"create delete patch update {_READ} | apps | controllerrevisions",
        _EVENTS,
    ),
    "deployment-controller": (
        f"update {_READ} | apps | deployments",
        "update | apps | deployments/status deployments/finalizers",
        f"create delete patch update {_READ} | apps | replicasets",
        f"update {_READ} | - | pods",
        _EVENTS,
    ),
    "disruption-controller": (
        f"{_READ} | apps | deployments replicasets statefulsets",
        f"{_READ} | - | replicationcontrollers",
        f"{_READ} | policy | poddisruptionbudgets",
        "update | policy | poddisruptionbudgets/status",
        "patch update | - | pods/status",
        "get | * | */scale",
        _EVENTS,
    ),
    "endpoint-controller": (
        f"{_READ} | - | pods services",
        f"create delete update {_READ} | - | endpoints",
        "create | - | endpoints/restricted",
        _EVENTS,
    ),
    "endpointslice-controller": (
        f"{_READ} | - | nodes pods services",
        "update | - | services/finalizers",
        f"create delete update {_READ} | discovery.k8s.io | endpointslices",
        _EVENTS,
    ),
    "endpointslicemirroring-controller": (
        f"{_READ} | - | endpoints services",
        "update | - | endpoints/finalizers services/finalizers",
        f"create delete update {_READ} | discovery.k8s.io | endpointslices",
        _EVENTS,
    ),
    "generic-garbage-collector": (f"delete patch update {_READ} | * | *", _EVENTS),
    "horizontal-pod-autoscaler": (
        f"{_READ} | autoscaling | horizontalpodautoscalers",
        "update | autoscaling | horizontalpodautoscalers/status",
        "get update | * | */scale",
        "list watch | - | pods",
        "list watch | metrics.k8s.io | pods",
        f"{_READ} | custom.metrics.k8s.io external.metrics.k8s.io | *",
        _EVENTS,
    ),
    "job-controller": (
        f"patch update {_READ} | batch | jobs",
        "update | batch | jobs/status jobs/finalizers",
        "list watch create delete patch | - | pods",
        _EVENTS,
    ),
    "namespace-controller": (
        f"delete {_READ} | - | namespaces",
        "update | - | namespaces/finalize namespaces/status",
        "delete deletecollection get list | * | *",
    ),
    "node-controller": (
        f"delete patch update {_READ} | - | nodes",
        "patch update | - | nodes/status pods/status",
        "delete list watch get | - | pods",
        _EVENTS,
    ),
    "persistent-volume-binder": (
        f"create delete update {_READ} | - | persistentvolumes",
        "update | - | persistentvolumes/status persistentvolumeclaims/status",
        f"update {_READ} | - | persistentvolumeclaims",
        f"{_READ} | storage.k8s.io | storageclasses",
        f"{_READ} | - | nodes",
        _EVENTS,
    ),
    "pod-garbage-collector": (
        "list watch delete get | - | pods",
        f"{_READ} | - | nodes",
        "patch | - | pods/status",
    ),
    "replicaset-controller": (
        f"update {_READ} | apps | replicasets",
        "update | apps | replicasets/status replicasets/finalizers",
        "list watch create delete patch | - | pods",
        _EVENTS,
    ),
    "replication-controller": (
        f"update {_READ} | - | replicationcontrollers",
        "update | - | replicationcontrollers/status replicationcontrollers/finalizers",
        "list watch create delete patch | - | pods",
        _EVENTS,
    ),
    "resourcequota-controller": ("list watch | * | *", "update | - | resourcequotas/status", _EVENTS),
    "root-ca-cert-publisher": ("create update | - | configmaps", _EVENTS),
    "route-controller": ("list watch | - | nodes", "patch | - | nodes/status", _EVENTS),
    "service-account-controller": ("create | - | serviceaccounts", _EVENTS),
    "service-cidrs-controller": (
        f"patch update {_READ} | networking.k8s.io | servicecidrs",
        "patch update | networking.k8s.io | servicecidrs/finalizers servicecidrs/status",
        f"{_READ} | networking.k8s.io | ipaddresses",
        _EVENTS,
    ),
    "service-controller": (
        f"{_READ} | - | services",
        "patch update | - | services/status",
        "list watch | - | nodes",
        _EVENTS,
    ),
    "statefulset-controller": (
        "list watch | - | pods",
        f"{_READ} | apps | statefulsets",
        "update | apps | statefulsets/status statefulsets/finalizers",
        "create delete get patch update | - | pods",
        f"create delete patch update {_READ} | apps | controllerrevisions",
        "create get | - | persistentvolumeclaims",
        _EVENTS,
    ),
    "ttl-after-finished-controller": (f"delete {_READ} | batch | jobs", _EVENTS),
    "ttl-controller": ("list patch update watch | - | nodes", _EVENTS),
}

# In which namespace (upstream's namespace_policy): the role, and who has it.
ROLES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "kube-system",
        "extension-apiserver-authentication-reader",
        (f"{_READ} | - | configmaps [extension-apiserver-authentication]",),
    ),
    ("kube-system", "system:controller:bootstrap-signer", (f"{_READ} | - | secrets",)),
    ("kube-system", "system:controller:token-cleaner", (f"delete {_READ} | - | secrets", _EVENTS)),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        (
            "watch | - | configmaps",
            "get update | - | configmaps [kube-controller-manager]",
        ),
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        (
            "watch | - | configmaps",
            "get update | - | configmaps [kube-scheduler]",
        ),
    ),
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        (
            f"{_READ} | - | configmaps",
            "update | - | configmaps [cluster-info]",
            _EVENTS,
        ),
    ),
)

MANAGER = "User:system:kube-controller-manager"

BINDINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("cluster-admin", ("Group:system:masters",)),
    ("system:monitoring", ("Group:system:monitoring",)),
    ("system:discovery", ("Group:system:authenticated",)),
    ("system:basic-user", ("Group:system:authenticated",)),
    ("system:public-info-viewer", ("Group:system:authenticated", "Group:system:unauthenticated")),
    ("system:node-proxier", ("User:system:kube-proxy",)),
    ("system:kube-controller-manager", (MANAGER,)),
    ("system:kube-dns", ("Account:kube-system:kube-dns",)),
    ("system:kube-scheduler", ("User:system:kube-scheduler",)),
    ("system:volume-scheduler", ("User:system:kube-scheduler",)),
    ("system:node", ()),
    ("system:service-account-issuer-discovery", ("Group:system:serviceaccounts",)),
    ("netemu:node-agent", ("Group:system:nodes",)),
)

# Who has the Roles, and bindings whose name is not the Role's.
ROLE_BINDINGS: dict[str, tuple[str, ...]] = {
    "extension-apiserver-authentication-reader": (MANAGER, "User:system:kube-scheduler"),
    "system:controller:bootstrap-signer": ("Account:kube-system:bootstrap-signer",),
    "system:controller:token-cleaner": ("Account:kube-system:token-cleaner",),
    "system::leader-locking-kube-controller-manager": (
        MANAGER,
        "Account:kube-system:kube-controller-manager",
    ),
    "system::leader-locking-kube-scheduler": (
        "User:system:kube-scheduler",
        "Account:kube-system:kube-scheduler",
    ),
}
BINDING_NAMES = {
    "extension-apiserver-authentication-reader": "system::extension-apiserver-authentication-reader"
}
