"""Small files that outlive a call: one for each container, in a directory of the plugin's own."""

import posix as os

from netemu.wire import cni


def place(configuration: "cni.Document", default: str) -> str:
    """The option `dataDir`, or the default. INVALID_CONFIGURATION for one that depends on where we are."""
    found = configuration.get("dataDir") or default
    if not found.startswith("/"):
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"dataDir must be an absolute path, not {found!r}")
    return found


def write(directory: str, name: str, text: str) -> None:
    """Keep a text; the file is whole or is not there. OSError, also when the disk is full."""
    make_directory(directory, 0o700)
    draft = f"{directory}/.{name}.{os.getpid()}"
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, f"{directory}/{name}")
    except OSError:
        remove(directory, draft.rpartition("/")[2])
        raise


def make_directory(path: str, mode: int) -> None:
    """A directory and all above it, where they are missing. OSError."""
    if exists(path):
        return
    parent = path.rstrip("/").rpartition("/")[0]
    if parent and not exists(parent):
        make_directory(parent, 0o755)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return  # somebody was quicker


def exists(path: str) -> bool:
    """Whether there is something at a path."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def read(directory: str, name: str) -> str:
    """The text, or "" when there is none."""
    try:
        with open(f"{directory}/{name}", encoding="utf-8") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def remove(directory: str, name: str) -> None:
    """Forget a text; none is fine."""
    try:
        os.unlink(f"{directory}/{name}")
    except (FileNotFoundError, NotADirectoryError):
        return


def names(directory: str) -> list[str]:
    """All that are kept."""
    try:
        return [name for name in os.listdir(directory) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
