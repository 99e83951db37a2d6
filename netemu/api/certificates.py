"""Certificate signing requests."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.fields import Bytes, Enum, F, Int32, Record, Time
from netemu.api.meta import Condition, Object

KeyUsage = A[
    str,
    Enum(
        "signing",
        "digital signature",
        "content commitment",
        "key encipherment",
        "key agreement",
        "data encipherment",
        "cert sign",
        "crl sign",
        "encipher only",
        "decipher only",
        "any",
        "server auth",
        "client auth",
        "code signing",
        "email protection",
        "s/mime",
        "ipsec end system",
        "ipsec tunnel",
        "ipsec user",
        "timestamping",
        "ocsp signing",
        "microsoft sgc",
        "netscape sgc",
    ),
]


class CertificateSigningRequestSpec(Record):
    request: A[Bytes, F(1, required=True)] = ""
    signerName: A[str, F(7, required=True)] = ""
    expirationSeconds: A[Int32 | None, F(8)] = None
    usages: A[tuple[KeyUsage, ...], F(5)] = ()
    username: A[str, F(2)] = ""
    uid: A[str, F(3)] = ""
    groups: A[tuple[str, ...], F(4)] = ()
    extra: A[dict[str, tuple[str, ...]], F(6)] = {}


class CertificateSigningRequestCondition(Record):
    type: A[str, F(1, required=True)] = ""
    status: A[str, F(6, required=True)] = ""
    reason: A[str, F(2)] = ""
    message: A[str, F(3)] = ""
    lastUpdateTime: A[Time, F(4)] = ""
    lastTransitionTime: A[Time, F(5)] = ""


class CertificateSigningRequestStatus(Record):
    conditions: A[tuple[CertificateSigningRequestCondition, ...], F(1, keys=("type",))] = ()
    certificate: A[Bytes, F(2)] = ""


class CertificateSigningRequest(Object):
    apiVersion: ClassVar[str] = "certificates.k8s.io/v1"
    kind: ClassVar[str] = "CertificateSigningRequest"
    spec: A[CertificateSigningRequestSpec, F(2, required=True)] = CertificateSigningRequestSpec()
    status: A[CertificateSigningRequestStatus, F(3)] = CertificateSigningRequestStatus()


class ClusterTrustBundleSpec(Record):
    signerName: A[str, F(1)] = ""
    trustBundle: A[str, F(2, required=True)] = ""


class ClusterTrustBundle(Object):
    apiVersion: ClassVar[str] = "certificates.k8s.io/v1"
    kind: ClassVar[str] = "ClusterTrustBundle"
    spec: A[ClusterTrustBundleSpec, F(2, required=True)] = ClusterTrustBundleSpec()


class PodCertificateRequestSpec(Record):
    signerName: A[str, F(1, required=True)] = ""
    podName: A[str, F(2, required=True)] = ""
    podUID: A[str, F(3, required=True)] = ""
    serviceAccountName: A[str, F(4, required=True)] = ""
    serviceAccountUID: A[str, F(5, required=True)] = ""
    nodeName: A[str, F(6, required=True)] = ""
    nodeUID: A[str, F(7, required=True)] = ""
    maxExpirationSeconds: A[Int32 | None, F(8, default=86400)] = None
    stubPKCS10Request: A[Bytes, F(12, required=True)] = ""
    unverifiedUserAnnotations: A[dict[str, str], F(11)] = {}


class PodCertificateRequestStatus(Record):
    conditions: A[tuple[Condition, ...], F(1, merge="type", keys=("type",))] = ()
    certificateChain: A[str, F(2)] = ""
    notBefore: A[Time | None, F(4)] = None
    beginRefreshAt: A[Time | None, F(5)] = None
    notAfter: A[Time | None, F(6)] = None


class PodCertificateRequest(Object):
    apiVersion: ClassVar[str] = "certificates.k8s.io/v1"
    kind: ClassVar[str] = "PodCertificateRequest"
    spec: A[PodCertificateRequestSpec, F(2, required=True)] = PodCertificateRequestSpec()
    status: A[PodCertificateRequestStatus, F(3)] = PodCertificateRequestStatus()
