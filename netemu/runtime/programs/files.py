"""Files over HTTP, as the web servers' default configuration does. Never outside the root it is given."""

import html
import os
import time
from collections.abc import Callable

from netemu.runtime.programs.conversations import Reply, Request

# What network examples serve; anything else is a download.
KINDS = {
    "css": "text/css",
    "gif": "image/gif",
    "html": "text/html",
    "htm": "text/html",
    "ico": "image/x-icon",
    "jpg": "image/jpeg",
    "js": "application/javascript",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "xml": "text/xml",
}
Refuse = Callable[[int], Reply]


def find(root: str, path: str, index: tuple[str, ...] = ("index.html",)) -> str | None:
    """The file behind a path below `root`, following links as web servers do; None when there is none."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path:
        return None
    place = os.path.join(root, *parts)
    if os.path.isdir(place):
        return next((f"{place}/{name}" for name in index if os.path.isfile(f"{place}/{name}")), None)
    return place if os.path.isfile(place) and not path.endswith("/") else None


def serve(
    root: str, request: Request, path: str, refuse: Refuse, index: tuple[str, ...] = ("index.html",)
) -> Reply:
    """The file, 301 to a directory's own name, or what `refuse` makes of 404, 403 and 405."""
    if request.method not in ("GET", "HEAD"):
        return refuse(405)
    found = find(root, path, index)
    if found is None:
        directory = os.path.isdir(os.path.join(root, path.lstrip("/"))) and ".." not in path
        if directory and not path.endswith("/"):
            return refuse(301)._replace(headers=(("Location", f"{path}/"),))
        return refuse(403 if directory else 404)
    try:
        with open(found, "rb") as file:
            body, changed = file.read(), os.fstat(file.fileno()).st_mtime
    except PermissionError:
        return refuse(403)
    except OSError:
        return refuse(404)
    kind = KINDS.get(found.rpartition(".")[2].lower(), "application/octet-stream")
    modified = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(changed))
    return Reply(200, body, kind, (("Last-Modified", modified), ("Accept-Ranges", "none")))


def listing(root: str, path: str) -> Reply | None:
    """The names in a directory as links, as Go's file server shows them; None when it is none."""
    if ".." in path.split("/"):
        return None
    try:
        with os.scandir(os.path.join(root, path.lstrip("/"))) as entries:
            names = sorted(entry.name + "/" * entry.is_dir() for entry in entries)
    except OSError:
        return None
    links = "".join(f'<a href="{html.escape(name)}">{html.escape(name)}</a>\n' for name in names)
    return Reply(200, f"<pre>\n{links}</pre>\n".encode(), "text/html; charset=utf-8")
