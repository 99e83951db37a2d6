"""Our plugins called without a process, by a runtime in Python: the same code, environment and documents.

A call takes the thread it is made on into the container's namespace and back; the process keeps its
directory, environment and file descriptors, so any number of threads may call at once. What the host is, is
the network and mount namespace of the calling thread.
"""

import cni as plugins
from cni import frame
from netemu.wire import cni

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def call(
    plugin: str, command: str, environment: "Mapping[str, str]", stdin: "bytes | str | cni.Document"
) -> "cni.Document":
    """One command (ADD, DEL, CHECK, GC, STATUS, VERSION) of a plugin, by its executable's name.

    `environment` holds the CNI_* variables (CNI_COMMAND is `command`) and PATH; `stdin` the network
    configuration, as text or as the document. Answers with the result in the configuration's cniVersion,
    {} unless the command has one. Failure, as an executable would print it. It blocks: 2 ms for a pod.
    """
    if plugin not in plugins.EXECUTABLES:
        raise cni.Failure(cni.INVALID_CONFIGURATION, f'failed to find plugin "{plugin}" in netemu')
    parameters = cni.call({**environment, "CNI_COMMAND": command})
    if command == "VERSION":
        return cni.version_reply()
    return frame.perform(plugin, parameters, cni.configuration(stdin))


def whose(path: str) -> str:
    """Which plugin of ours an executable is, unchanged; "" if another's. OSError if it cannot be read."""
    return plugins.whose(path)
