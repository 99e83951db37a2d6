"""Where the bytes of a volume come from."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.claims import PersistentVolumeClaimTemplate
from netemu.api.core.enums import AzureDataDiskCachingMode, AzureDataDiskKind, HostPathType, PullPolicy
from netemu.api.core.environment import KeyToPath, ObjectFieldSelector, ResourceFieldSelector
from netemu.api.core.references import LocalObjectReference, ObjectReference, SecretReference
from netemu.api.fields import F, Int32, Int64, Quantity, Record
from netemu.api.meta import LabelSelector


class AWSElasticBlockStoreVolumeSource(Record):
    volumeID: A[str, F(1, required=True)] = ""
    fsType: A[str, F(2)] = ""
    partition: A[Int32, F(3)] = 0
    readOnly: A[bool, F(4)] = False


class AzureDiskVolumeSource(Record):
    diskName: A[str, F(1, required=True)] = ""
    diskURI: A[str, F(2, required=True)] = ""
    cachingMode: A[AzureDataDiskCachingMode | None, F(3)] = None
    fsType: A[str | None, F(4, default="ext4")] = None
    readOnly: A[bool | None, F(5, default=False)] = None
    kind: A[AzureDataDiskKind | None, F(6)] = None


class AzureFileVolumeSource(Record):
    secretName: A[str, F(1, required=True)] = ""
    shareName: A[str, F(2, required=True)] = ""
    readOnly: A[bool, F(3)] = False


class CSIVolumeSource(Record):
    driver: A[str, F(1, required=True)] = ""
    readOnly: A[bool | None, F(2)] = None
    fsType: A[str | None, F(3)] = None
    volumeAttributes: A[dict[str, str], F(4)] = {}
    nodePublishSecretRef: A[LocalObjectReference | None, F(5)] = None


class CephFSVolumeSource(Record):
    monitors: A[tuple[str, ...], F(1, required=True)] = ()
    path: A[str, F(2)] = ""
    user: A[str, F(3)] = ""
    secretFile: A[str, F(4)] = ""
    secretRef: A[LocalObjectReference | None, F(5)] = None
    readOnly: A[bool, F(6)] = False


class CinderVolumeSource(Record):
    volumeID: A[str, F(1, required=True)] = ""
    fsType: A[str, F(2)] = ""
    readOnly: A[bool, F(3)] = False
    secretRef: A[LocalObjectReference | None, F(4)] = None


class ConfigMapVolumeSource(LocalObjectReference):
    embedded: ClassVar[int] = 1
    items: A[tuple[KeyToPath, ...], F(2)] = ()
    defaultMode: A[Int32 | None, F(3, default=420)] = None
    optional: A[bool | None, F(4)] = None
    defaultUser: A[Int64 | None, F(5)] = None


class DownwardAPIVolumeFile(Record):
    path: A[str, F(1, required=True)] = ""
    fieldRef: A[ObjectFieldSelector | None, F(2)] = None
    resourceFieldRef: A[ResourceFieldSelector | None, F(3)] = None
    mode: A[Int32 | None, F(4)] = None
    user: A[Int64 | None, F(5)] = None


class DownwardAPIVolumeSource(Record):
    items: A[tuple[DownwardAPIVolumeFile, ...], F(1)] = ()
    defaultMode: A[Int32 | None, F(2, default=420)] = None
    defaultUser: A[Int64 | None, F(3)] = None


class EmptyDirVolumeSource(Record):
    medium: A[str, F(1)] = ""
    sizeLimit: A[Quantity | None, F(2)] = None
    mode: A[Int32 | None, F(3)] = None


class EphemeralVolumeSource(Record):
    volumeClaimTemplate: A[PersistentVolumeClaimTemplate | None, F(1)] = None


class FCVolumeSource(Record):
    targetWWNs: A[tuple[str, ...], F(1)] = ()
    lun: A[Int32 | None, F(2)] = None
    fsType: A[str, F(3)] = ""
    readOnly: A[bool, F(4)] = False
    wwids: A[tuple[str, ...], F(5)] = ()


class FlexVolumeSource(Record):
    driver: A[str, F(1, required=True)] = ""
    fsType: A[str, F(2)] = ""
    secretRef: A[LocalObjectReference | None, F(3)] = None
    readOnly: A[bool, F(4)] = False
    options: A[dict[str, str], F(5)] = {}


class FlockerVolumeSource(Record):
    datasetName: A[str, F(1)] = ""
    datasetUUID: A[str, F(2)] = ""


class GCEPersistentDiskVolumeSource(Record):
    pdName: A[str, F(1, required=True)] = ""
    fsType: A[str, F(2)] = ""
    partition: A[Int32, F(3)] = 0
    readOnly: A[bool, F(4)] = False


class GitRepoVolumeSource(Record):
    repository: A[str, F(1, required=True)] = ""
    revision: A[str, F(2)] = ""
    directory: A[str, F(3)] = ""


class GlusterfsVolumeSource(Record):
    endpoints: A[str, F(1, required=True)] = ""
    path: A[str, F(2, required=True)] = ""
    readOnly: A[bool, F(3)] = False


class HostPathVolumeSource(Record):
    path: A[str, F(1, required=True)] = ""
    type: A[HostPathType | None, F(2, default="")] = None


class ISCSIVolumeSource(Record):
    targetPortal: A[str, F(1, required=True)] = ""
    iqn: A[str, F(2, required=True)] = ""
    lun: A[Int32, F(3, required=True)] = 0
    iscsiInterface: A[str, F(4, default="default")] = ""
    fsType: A[str, F(5)] = ""
    readOnly: A[bool, F(6)] = False
    portals: A[tuple[str, ...], F(7)] = ()
    chapAuthDiscovery: A[bool, F(8)] = False
    chapAuthSession: A[bool, F(11)] = False
    secretRef: A[LocalObjectReference | None, F(10)] = None
    initiatorName: A[str | None, F(12)] = None


class ImageVolumeSource(Record):
    reference: A[str, F(1)] = ""
    pullPolicy: A[PullPolicy, F(2)] = ""


class NFSVolumeSource(Record):
    server: A[str, F(1, required=True)] = ""
    path: A[str, F(2, required=True)] = ""
    readOnly: A[bool, F(3)] = False


class PersistentVolumeClaimVolumeSource(Record):
    claimName: A[str, F(1, required=True)] = ""
    readOnly: A[bool, F(2)] = False


class PhotonPersistentDiskVolumeSource(Record):
    pdID: A[str, F(1, required=True)] = ""
    fsType: A[str, F(2)] = ""


class PortworxVolumeSource(Record):
    volumeID: A[str, F(1, required=True)] = ""
    fsType: A[str, F(2)] = ""
    readOnly: A[bool, F(3)] = False


class ClusterTrustBundleProjection(Record):
    name: A[str | None, F(1)] = None
    signerName: A[str | None, F(2)] = None
    labelSelector: A[LabelSelector | None, F(3)] = None
    optional: A[bool | None, F(5)] = None
    path: A[str, F(4, required=True)] = ""
    user: A[Int64 | None, F(6)] = None


class ConfigMapProjection(LocalObjectReference):
    embedded: ClassVar[int] = 1
    items: A[tuple[KeyToPath, ...], F(2)] = ()
    optional: A[bool | None, F(4)] = None


class DownwardAPIProjection(Record):
    items: A[tuple[DownwardAPIVolumeFile, ...], F(1)] = ()


class PodCertificateProjection(Record):
    signerName: A[str, F(1, required=True, keep=False)] = ""
    keyType: A[str, F(2, required=True, keep=False)] = ""
    maxExpirationSeconds: A[Int32 | None, F(3)] = None
    credentialBundlePath: A[str, F(4)] = ""
    keyPath: A[str, F(5)] = ""
    certificateChainPath: A[str, F(6)] = ""
    userAnnotations: A[dict[str, str], F(7)] = {}
    user: A[Int64 | None, F(8)] = None


class SecretProjection(LocalObjectReference):
    embedded: ClassVar[int] = 1
    items: A[tuple[KeyToPath, ...], F(2)] = ()
    optional: A[bool | None, F(4)] = None


class ServiceAccountTokenProjection(Record):
    audience: A[str, F(1)] = ""
    expirationSeconds: A[Int64 | None, F(2, default=3600)] = None
    path: A[str, F(3, required=True)] = ""
    user: A[Int64 | None, F(4)] = None


class VolumeProjection(Record):
    secret: A[SecretProjection | None, F(1)] = None
    downwardAPI: A[DownwardAPIProjection | None, F(2)] = None
    configMap: A[ConfigMapProjection | None, F(3)] = None
    serviceAccountToken: A[ServiceAccountTokenProjection | None, F(4)] = None
    clusterTrustBundle: A[ClusterTrustBundleProjection | None, F(5)] = None
    podCertificate: A[PodCertificateProjection | None, F(6)] = None


class ProjectedVolumeSource(Record):
    sources: A[tuple[VolumeProjection, ...], F(1, keep=True)] = ()
    defaultMode: A[Int32 | None, F(2, default=420)] = None
    defaultUser: A[Int64 | None, F(3)] = None


class QuobyteVolumeSource(Record):
    registry: A[str, F(1, required=True)] = ""
    volume: A[str, F(2, required=True)] = ""
    readOnly: A[bool, F(3)] = False
    user: A[str, F(4)] = ""
    group: A[str, F(5)] = ""
    tenant: A[str, F(6)] = ""


class RBDVolumeSource(Record):
    monitors: A[tuple[str, ...], F(1, required=True)] = ()
    image: A[str, F(2, required=True)] = ""
    fsType: A[str, F(3)] = ""
    pool: A[str, F(4, default="rbd")] = ""
    user: A[str, F(5, default="admin")] = ""
    keyring: A[str, F(6, default="/etc/ceph/keyring")] = ""
    secretRef: A[LocalObjectReference | None, F(7)] = None
    readOnly: A[bool, F(8)] = False


class ScaleIOVolumeSource(Record):
    gateway: A[str, F(1, required=True)] = ""
    system: A[str, F(2, required=True)] = ""
    secretRef: A[LocalObjectReference | None, F(3, required=True)] = None
    sslEnabled: A[bool, F(4)] = False
    protectionDomain: A[str, F(5)] = ""
    storagePool: A[str, F(6)] = ""
    storageMode: A[str, F(7, default="ThinProvisioned")] = ""
    volumeName: A[str, F(8)] = ""
    fsType: A[str, F(9, default="xfs")] = ""
    readOnly: A[bool, F(10)] = False


class SecretVolumeSource(Record):
    secretName: A[str, F(1)] = ""
    items: A[tuple[KeyToPath, ...], F(2)] = ()
    defaultMode: A[Int32 | None, F(3, default=420)] = None
    optional: A[bool | None, F(4)] = None
    defaultUser: A[Int64 | None, F(5)] = None


class StorageOSVolumeSource(Record):
    volumeName: A[str, F(1)] = ""
    volumeNamespace: A[str, F(2)] = ""
    fsType: A[str, F(3)] = ""
    readOnly: A[bool, F(4)] = False
    secretRef: A[LocalObjectReference | None, F(5)] = None


class VsphereVirtualDiskVolumeSource(Record):
    volumePath: A[str, F(1, required=True)] = ""
    fsType: A[str, F(2)] = ""
    storagePolicyName: A[str, F(3)] = ""
    storagePolicyID: A[str, F(4)] = ""


class VolumeSource(Record):
    hostPath: A[HostPathVolumeSource | None, F(1)] = None
    emptyDir: A[EmptyDirVolumeSource | None, F(2)] = None
    gcePersistentDisk: A[GCEPersistentDiskVolumeSource | None, F(3)] = None
    awsElasticBlockStore: A[AWSElasticBlockStoreVolumeSource | None, F(4)] = None
    gitRepo: A[GitRepoVolumeSource | None, F(5)] = None
    secret: A[SecretVolumeSource | None, F(6)] = None
    nfs: A[NFSVolumeSource | None, F(7)] = None
    iscsi: A[ISCSIVolumeSource | None, F(8)] = None
    glusterfs: A[GlusterfsVolumeSource | None, F(9)] = None
    persistentVolumeClaim: A[PersistentVolumeClaimVolumeSource | None, F(10)] = None
    rbd: A[RBDVolumeSource | None, F(11)] = None
    flexVolume: A[FlexVolumeSource | None, F(12)] = None
    cinder: A[CinderVolumeSource | None, F(13)] = None
    cephfs: A[CephFSVolumeSource | None, F(14)] = None
    flocker: A[FlockerVolumeSource | None, F(15)] = None
    downwardAPI: A[DownwardAPIVolumeSource | None, F(16)] = None
    fc: A[FCVolumeSource | None, F(17)] = None
    azureFile: A[AzureFileVolumeSource | None, F(18)] = None
    configMap: A[ConfigMapVolumeSource | None, F(19)] = None
    vsphereVolume: A[VsphereVirtualDiskVolumeSource | None, F(20)] = None
    quobyte: A[QuobyteVolumeSource | None, F(21)] = None
    azureDisk: A[AzureDiskVolumeSource | None, F(22)] = None
    photonPersistentDisk: A[PhotonPersistentDiskVolumeSource | None, F(23)] = None
    projected: A[ProjectedVolumeSource | None, F(26)] = None
    portworxVolume: A[PortworxVolumeSource | None, F(24)] = None
    scaleIO: A[ScaleIOVolumeSource | None, F(25)] = None
    storageos: A[StorageOSVolumeSource | None, F(27)] = None
    csi: A[CSIVolumeSource | None, F(28)] = None
    ephemeral: A[EphemeralVolumeSource | None, F(29)] = None
    image: A[ImageVolumeSource | None, F(30)] = None


class AzureFilePersistentVolumeSource(Record):
    secretName: A[str, F(1, required=True)] = ""
    shareName: A[str, F(2, required=True)] = ""
    readOnly: A[bool, F(3)] = False
    secretNamespace: A[str | None, F(4)] = None


class CSIPersistentVolumeSource(Record):
    driver: A[str, F(1, required=True)] = ""
    volumeHandle: A[str, F(2, required=True)] = ""
    readOnly: A[bool, F(3)] = False
    fsType: A[str, F(4)] = ""
    volumeAttributes: A[dict[str, str], F(5)] = {}
    controllerPublishSecretRef: A[SecretReference | None, F(6)] = None
    nodeStageSecretRef: A[SecretReference | None, F(7)] = None
    nodePublishSecretRef: A[SecretReference | None, F(8)] = None
    controllerExpandSecretRef: A[SecretReference | None, F(9)] = None
    nodeExpandSecretRef: A[SecretReference | None, F(10)] = None


class CephFSPersistentVolumeSource(Record):
    monitors: A[tuple[str, ...], F(1, required=True)] = ()
    path: A[str, F(2)] = ""
    user: A[str, F(3)] = ""
    secretFile: A[str, F(4)] = ""
    secretRef: A[SecretReference | None, F(5)] = None
    readOnly: A[bool, F(6)] = False


class CinderPersistentVolumeSource(Record):
    volumeID: A[str, F(1, required=True)] = ""
    fsType: A[str, F(2)] = ""
    readOnly: A[bool, F(3)] = False
    secretRef: A[SecretReference | None, F(4)] = None


class FlexPersistentVolumeSource(Record):
    driver: A[str, F(1, required=True)] = ""
    fsType: A[str, F(2)] = ""
    secretRef: A[SecretReference | None, F(3)] = None
    readOnly: A[bool, F(4)] = False
    options: A[dict[str, str], F(5)] = {}


class GlusterfsPersistentVolumeSource(Record):
    endpoints: A[str, F(1, required=True)] = ""
    path: A[str, F(2, required=True)] = ""
    readOnly: A[bool, F(3)] = False
    endpointsNamespace: A[str | None, F(4)] = None


class ISCSIPersistentVolumeSource(Record):
    targetPortal: A[str, F(1, required=True)] = ""
    iqn: A[str, F(2, required=True)] = ""
    lun: A[Int32, F(3, required=True)] = 0
    iscsiInterface: A[str, F(4, default="default")] = ""
    fsType: A[str, F(5)] = ""
    readOnly: A[bool, F(6)] = False
    portals: A[tuple[str, ...], F(7)] = ()
    chapAuthDiscovery: A[bool, F(8)] = False
    chapAuthSession: A[bool, F(11)] = False
    secretRef: A[SecretReference | None, F(10)] = None
    initiatorName: A[str | None, F(12)] = None


class LocalVolumeSource(Record):
    path: A[str, F(1, required=True)] = ""
    fsType: A[str | None, F(2)] = None


class RBDPersistentVolumeSource(Record):
    monitors: A[tuple[str, ...], F(1, required=True)] = ()
    image: A[str, F(2, required=True)] = ""
    fsType: A[str, F(3)] = ""
    pool: A[str, F(4, default="rbd")] = ""
    user: A[str, F(5, default="admin")] = ""
    keyring: A[str, F(6, default="/etc/ceph/keyring")] = ""
    secretRef: A[SecretReference | None, F(7)] = None
    readOnly: A[bool, F(8)] = False


class ScaleIOPersistentVolumeSource(Record):
    gateway: A[str, F(1, required=True)] = ""
    system: A[str, F(2, required=True)] = ""
    secretRef: A[SecretReference | None, F(3, required=True)] = None
    sslEnabled: A[bool, F(4)] = False
    protectionDomain: A[str, F(5)] = ""
    storagePool: A[str, F(6)] = ""
    storageMode: A[str, F(7, default="ThinProvisioned")] = ""
    volumeName: A[str, F(8)] = ""
    fsType: A[str, F(9, default="xfs")] = ""
    readOnly: A[bool, F(10)] = False


class StorageOSPersistentVolumeSource(Record):
    volumeName: A[str, F(1)] = ""
    volumeNamespace: A[str, F(2)] = ""
    fsType: A[str, F(3)] = ""
    readOnly: A[bool, F(4)] = False
    secretRef: A[ObjectReference | None, F(5)] = None


class PersistentVolumeSource(Record):
    gcePersistentDisk: A[GCEPersistentDiskVolumeSource | None, F(1)] = None
    awsElasticBlockStore: A[AWSElasticBlockStoreVolumeSource | None, F(2)] = None
    hostPath: A[HostPathVolumeSource | None, F(3)] = None
    glusterfs: A[GlusterfsPersistentVolumeSource | None, F(4)] = None
    nfs: A[NFSVolumeSource | None, F(5)] = None
    rbd: A[RBDPersistentVolumeSource | None, F(6)] = None
    iscsi: A[ISCSIPersistentVolumeSource | None, F(7)] = None
    cinder: A[CinderPersistentVolumeSource | None, F(8)] = None
    cephfs: A[CephFSPersistentVolumeSource | None, F(9)] = None
    fc: A[FCVolumeSource | None, F(10)] = None
    flocker: A[FlockerVolumeSource | None, F(11)] = None
    flexVolume: A[FlexPersistentVolumeSource | None, F(12)] = None
    azureFile: A[AzureFilePersistentVolumeSource | None, F(13)] = None
    vsphereVolume: A[VsphereVirtualDiskVolumeSource | None, F(14)] = None
    quobyte: A[QuobyteVolumeSource | None, F(15)] = None
    azureDisk: A[AzureDiskVolumeSource | None, F(16)] = None
    photonPersistentDisk: A[PhotonPersistentDiskVolumeSource | None, F(17)] = None
    portworxVolume: A[PortworxVolumeSource | None, F(18)] = None
    scaleIO: A[ScaleIOPersistentVolumeSource | None, F(19)] = None
    local: A[LocalVolumeSource | None, F(20)] = None
    storageos: A[StorageOSPersistentVolumeSource | None, F(21)] = None
    csi: A[CSIPersistentVolumeSource | None, F(22)] = None
