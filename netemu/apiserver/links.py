"""Links in HTML pages put right, so that what leads to the page's own server leads through the proxy again.

Source: k8s.io/apimachinery pkg/util/proxy/transport.go. Knows HTML's attributes; relative links are right as
they are.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_OF: dict[str, str] = {  # HTML 4 and 5: the attributes of an element that hold URLs
    "a": "href",
    "area": "href",
    "audio": "src",
    "base": "href",
    "blockquote": "cite",
    "body": "background",
    "button": "formaction",
    "del": "cite",
    "embed": "src",
    "form": "action",
    "frame": "longdesc src",
    "head": "profile",
    "html": "manifest",
    "iframe": "longdesc src",
    "img": "longdesc src usemap",
    "input": "formaction src usemap",
    "ins": "cite",
    "link": "href",
    "object": "classid codebase data usemap",
    "q": "cite",
    "script": "src",
    "source": "src",
    "video": "poster src",
}
_ELEMENT = re.compile(rb"<([a-zA-Z]+)(\s[^>]*)>")
_ATTRIBUTE = re.compile(rb"""(\s)([a-zA-Z-]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'>]+)""")


def moved(link: str, base: str, host: str) -> str:
    """A link on a page that is seen at `base` of the proxy `host`, as it must be there."""
    url = urlsplit(link)
    if (url.netloc and url.netloc != host) or not url.path.startswith("/") or url.path.startswith(base):
        return link
    return url._replace(scheme="", netloc="", path=f"{base}{url.path}").geturl()


def rewrite(page: bytes, base: str, host: str) -> bytes:
    """The page with its links moved. Whatever encoding it is in has ASCII as it is."""

    def element(found: re.Match[bytes]) -> bytes:
        wanted = _OF.get(found[1].decode().lower(), "").split()
        if not wanted:
            return found[0]

        def attribute(one: re.Match[bytes]) -> bytes:
            if one[2].decode().lower() not in wanted:
                return one[0]
            quote = one[4][:1] if one[4][:1] in (b'"', b"'") else b""
            link = one[4].strip(quote).decode("latin-1") if quote else one[4].decode("latin-1")
            try:
                now = moved(link, base, host)
            except ValueError:
                return one[0]
            return b"".join((one[1], one[2], one[3], quote, now.encode("latin-1"), quote))

        return b"<" + found[1] + _ATTRIBUTE.sub(attribute, found[2]) + b">"

    return _ELEMENT.sub(element, page)
