"""The names of images. Knows the grammar of references; does not know which images there are.

Grammar: distribution/reference (registry, path, tag, digest), with Docker Hub's abbreviations.
"""

import re
from typing import NamedTuple

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    r"(?:(?P<registry>localhost(?::\d+)?|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::\d+)?|[A-Za-z0-9-]+:\d+|\[[0-9a-fA-F:]+\](?::\d+)?)/)?"
    rf"(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?"
)


class Reference(NamedTuple):
    """An image's name in full, defaults filled in; `digest` is empty where none is asked for."""

    registry: str
    path: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        """The last part of the path: agnhost of registry.k8s.io/e2e-test-images/agnhost:2.53."""
        return self.path.rpartition("/")[2]


def parse(text: str) -> Reference:
    """ValueError, with Kubernetes' wording, when it is no reference."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ValueError(f'couldn\'t parse image name "{text}": invalid reference format')
    registry, path, tag, digest = match.group("registry", "path", "tag", "digest")
    if not registry:
        registry, path = "docker.io", path if "/" in path else f"library/{path}"
    return Reference(registry, path, tag or ("" if digest else "latest"), digest or "")
