"""Small files that outlive a call: one for each container, in a directory of the plugin's own."""

import os


def write(directory: str, name: str, text: str) -> None:
    """Keep a text; the file is whole or is not there. OSError, also when the disk is full."""
    os.makedirs(directory, 0o700, exist_ok=True)
    draft = os.path.join(directory, f".{name}.{os.getpid()}")
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, os.path.join(directory, name))
    except OSError:
        if os.path.exists(draft):
            os.unlink(draft)
        raise


def read(directory: str, name: str) -> str:
    """The text, or "" when there is none."""
    try:
        with open(os.path.join(directory, name), encoding="utf-8") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def remove(directory: str, name: str) -> None:
    """Forget a text; none is fine."""
    path = os.path.join(directory, name)
    if os.path.exists(path):
        os.unlink(path)


def names(directory: str) -> list[str]:
    """All that are kept."""
    try:
        return [name for name in os.listdir(directory) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
