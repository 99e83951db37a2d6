"""Another plugin run on behalf of this one (specification, section 4): from CNI_PATH, same call, same text.

One of ours is called in this process: the same code, without another interpreter's start.
"""

import cni as plugins
from cni import frame, programs
from netemu.wire import cni, documents


def ipam(call: cni.Call, configuration: "cni.Document", command: str) -> "cni.Result | None":
    """Run the IPAM plugin `command`. Its failure is ours; after a failed ADD it is told to DEL."""
    return run(
        (configuration.get("ipam") or {}).get("type", ""), call, configuration, command, what="ipam type"
    )


def run(
    kind: str, call: cni.Call, configuration: "cni.Document", command: str, *, what: str = "plugin type"
) -> "cni.Result | None":
    """Run the plugin `kind`; the result of an ADD. Its failure is ours; a failed ADD is followed by a DEL."""
    path = _find(kind, call.path, what)
    ours = plugins.whose(path)
    if ours:
        handler = frame.load(ours).HANDLERS.get(command)
        return handler(call._replace(command=command), configuration) if handler else None
    try:
        return _execute(path, call, configuration, command)
    except cni.Failure:
        if command == "ADD":
            _try_to_delete(path, call, configuration)
        raise


def _try_to_delete(path: str, call: cni.Call, configuration: "cni.Document") -> None:
    try:
        _execute(path, call, configuration, "DEL")
    except cni.Failure:
        return  # the first failure is the one to tell


def _find(kind: str, directories: "tuple[str, ...]", what: str) -> str:
    if not isinstance(kind, str) or not kind or "/" in kind:
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"invalid {what} {kind!r}")
    path = programs.find(kind, directories)
    if not path:
        where = ", ".join(directories)
        raise cni.Failure(cni.INVALID_CONFIGURATION, f'failed to find plugin "{kind}" in path [{where}]')
    return path


def _execute(path: str, call: cni.Call, configuration: "cni.Document", command: str) -> "cni.Result | None":
    text = documents.dump(configuration).encode()
    code, output = programs.run(path, [], {**call.environment, "CNI_COMMAND": command}, text)
    try:
        document = documents.load(output) if output.strip() else {}
    except ValueError:
        raise cni.Failure(cni.DECODING_FAILURE, f"{path} did not print JSON", repr(output[:200])) from None
    if code:
        raise cni.failure(document)
    return cni.result(document) if command == "ADD" else None
