"""The closed sets of words that core fields take."""

from typing import Annotated as A

from netemu.api.fields import Enum

AppArmorProfileType = A[str, Enum("Unconfined", "RuntimeDefault", "Localhost")]
AzureDataDiskCachingMode = A[str, Enum("None", "ReadOnly", "ReadWrite")]
AzureDataDiskKind = A[str, Enum("Shared", "Dedicated", "Managed")]
ClaimResourceStatus = A[
    str,
    Enum(
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizePending",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
    ),
]
DNSPolicy = A[str, Enum("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")]
GRPCProbeMode = A[str, Enum("Plaintext", "TLS")]
HTTPProtocol = A[str, Enum("HTTP1", "HTTP2")]
HostPathType = A[
    str,
    Enum(
        "",
        "DirectoryOrCreate",
        "Directory",
        "FileOrCreate",
        "File",
        "Socket",
        "CharDevice",
        "BlockDevice",
    ),
]
IPFamily = A[str, Enum("IPv4", "IPv6")]
IPFamilyPolicy = A[str, Enum("SingleStack", "PreferDualStack", "RequireDualStack")]
MountPropagationMode = A[str, Enum("None", "HostToContainer", "Bidirectional")]
NamespacePhase = A[str, Enum("Active", "Terminating")]
NodeInclusionPolicy = A[str, Enum("Ignore", "Honor")]
NodePhase = A[str, Enum("Pending", "Running", "Terminated")]
NodeSelectorOperator = A[str, Enum("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")]
PersistentVolumeAccessMode = A[
    str,
    Enum(
        "ReadWriteOnce",
        "ReadOnlyMany",
        "ReadWriteMany",
        "ReadWriteOncePod",
    ),
]
PersistentVolumeClaimModifyVolumeStatus = A[str, Enum("Pending", "InProgress", "Infeasible")]
PersistentVolumeClaimPhase = A[str, Enum("Pending", "Bound", "Lost")]
PersistentVolumeMode = A[str, Enum("Block", "Filesystem")]
PersistentVolumePhase = A[str, Enum("Pending", "Available", "Bound", "Released", "Failed")]
PersistentVolumeReclaimPolicy = A[str, Enum("Recycle", "Delete", "Retain")]
PodFSGroupChangePolicy = A[str, Enum("OnRootMismatch", "Always")]
PodPhase = A[str, Enum("Pending", "Running", "Succeeded", "Failed", "Unknown")]
PodQOSClass = A[str, Enum("Guaranteed", "Burstable", "BestEffort")]
PreemptionPolicy = A[str, Enum("PreemptLowerPriority", "Never")]
ProcMountType = A[str, Enum("Default", "Unmasked")]
Protocol = A[str, Enum("TCP", "UDP", "SCTP")]
PullPolicy = A[str, Enum("Always", "Never", "IfNotPresent")]
ResourceQuotaScope = A[
    str,
    Enum(
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "PriorityClass",
        "CrossNamespacePodAffinity",
        "VolumeAttributesClass",
    ),
]
RestartPolicy = A[str, Enum("Always", "OnFailure", "Never")]
ScopeSelectorOperator = A[str, Enum("In", "NotIn", "Exists", "DoesNotExist")]
SeccompProfileType = A[str, Enum("Unconfined", "RuntimeDefault", "Localhost")]
ServiceAffinity = A[str, Enum("ClientIP", "None")]
ServiceExternalTrafficPolicy = A[str, Enum("Cluster", "Local")]
ServiceInternalTrafficPolicy = A[str, Enum("Cluster", "Local")]
ServiceType = A[str, Enum("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")]
Signal = A[
    str,
    Enum(
        "SIGABRT",
        "SIGALRM",
        "SIGBUS",
        "SIGCHLD",
        "SIGCLD",
        "SIGCONT",
        "SIGFPE",
        "SIGHUP",
        "SIGILL",
        "SIGINT",
        "SIGIO",
        "SIGIOT",
        "SIGKILL",
        "SIGPIPE",
        "SIGPOLL",
        "SIGPROF",
        "SIGPWR",
        "SIGQUIT",
        "SIGSEGV",
        "SIGSTKFLT",
        "SIGSTOP",
        "SIGSYS",
        "SIGTERM",
        "SIGTRAP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGUSR1",
        "SIGUSR2",
        "SIGVTALRM",
        "SIGWINCH",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGRTMIN",
        "SIGRTMIN+1",
        "SIGRTMIN+2",
        "SIGRTMIN+3",
        "SIGRTMIN+4",
        "SIGRTMIN+5",
        "SIGRTMIN+6",
        "SIGRTMIN+7",
        "SIGRTMIN+8",
        "SIGRTMIN+9",
        "SIGRTMIN+10",
        "SIGRTMIN+11",
        "SIGRTMIN+12",
        "SIGRTMIN+13",
        "SIGRTMIN+14",
        "SIGRTMIN+15",
        "SIGRTMAX-14",
        "SIGRTMAX-13",
        "SIGRTMAX-12",
        "SIGRTMAX-11",
        "SIGRTMAX-10",
        "SIGRTMAX-9",
        "SIGRTMAX-8",
        "SIGRTMAX-7",
        "SIGRTMAX-6",
        "SIGRTMAX-5",
        "SIGRTMAX-4",
        "SIGRTMAX-3",
        "SIGRTMAX-2",
        "SIGRTMAX-1",
        "SIGRTMAX",
    ),
]
SupplementalGroupsPolicy = A[str, Enum("Merge", "Strict")]
TaintEffect = A[str, Enum("NoSchedule", "PreferNoSchedule", "NoExecute")]
TerminationMessagePolicy = A[str, Enum("File", "FallbackToLogsOnError")]
TolerationOperator = A[str, Enum("Exists", "Equal", "Lt", "Gt")]
URIScheme = A[str, Enum("HTTP", "HTTPS")]
UnsatisfiableConstraintAction = A[str, Enum("DoNotSchedule", "ScheduleAnyway")]
VolumeHealthStatusType = A[str, Enum("Inaccessible", "DataLoss", "Degraded")]
