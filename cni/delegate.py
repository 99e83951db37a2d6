"""Another plugin run on behalf of this one (specification, section 4): from CNI_PATH, same call, same text.

Our own host-local is called in this process: the same code, without another interpreter's start.
"""

import os

import cni as plugins
from cni import programs
from netemu.wire import cni, documents

_SAMPLE = 512  # our executables are shorter than this


def ipam(call: cni.Call, configuration: "cni.Document", command: str) -> "cni.Result | None":
    """Run the IPAM plugin `command`. Its failure is ours; after a failed ADD it is told to DEL."""
    kind = (configuration.get("ipam") or {}).get("type", "")
    path = _find(kind, call.path)
    if _is_ours(path):
        from cni import hostlocal

        handler = hostlocal.HANDLERS.get(command)
        return handler(call._replace(command=command), configuration) if handler else None
    try:
        return _execute(path, configuration, command)
    except cni.Failure:
        if command == "ADD":
            _try_to_delete(path, configuration)
        raise


def _try_to_delete(path: str, configuration: "cni.Document") -> None:
    try:
        _execute(path, configuration, "DEL")
    except cni.Failure:
        return  # the first failure is the one to tell


def _find(kind: str, directories: "tuple[str, ...]") -> str:
    if not kind or "/" in kind:
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"invalid ipam type {kind!r}")
    path = programs.find(kind, directories)
    if not path:
        where = ", ".join(directories)
        raise cni.Failure(cni.INVALID_CONFIGURATION, f'failed to find plugin "{kind}" in path [{where}]')
    return path


def _is_ours(path: str) -> bool:
    if os.path.realpath(path) == os.path.join(plugins.root(), "cni", "host-local"):
        return True
    with open(path, "rb", buffering=0) as file:
        first, _, rest = (file.read(_SAMPLE) or b"").partition(b"\n")
    return first.startswith(b"#!") and rest == plugins.wrapper("hostlocal", "").encode().partition(b"\n")[2]


def _execute(path: str, configuration: "cni.Document", command: str) -> "cni.Result | None":
    text = documents.dump(configuration).encode()
    code, output = programs.run(path, [], {**os.environ, "CNI_COMMAND": command}, text)
    try:
        document = documents.load(output) if output.strip() else {}
    except ValueError:
        raise cni.Failure(cni.DECODING_FAILURE, f"{path} did not print JSON", repr(output[:200])) from None
    if code:
        raise cni.failure(document)
    return cni.result(document) if command == "ADD" else None
