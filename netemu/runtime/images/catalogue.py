"""The images netemu can play: data, and the look-up by name. Does not know how their programs work.

Registry, path, tag and digest do not matter: only the last part of an image's name counts.
"""

from typing import NamedTuple

from netemu.base import errors
from netemu.runtime.images import references

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Image(NamedTuple):
    """`programs` are the commands that run as Python functions ("module:function"), by name or path.

    `tag` is the environment variable that tells such a program the tag it was asked for by.
    """

    names: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    programs: tuple[tuple[str, str], ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = "/"
    stop_signal: str = "SIGTERM"
    tag: str = ""

    @property
    def id(self) -> str:
        """Honest about what it is: no digest of an image that was never there."""
        return f"netemu://{self.names[0]}"

    def program(self, name: str) -> str:
        """The function behind a command, or "" when it is a file like any other."""
        return dict(self.programs).get(name, "")


class ImageNotFound(errors.NetemuError):
    """There is no look-alike of that name; the message lists those there are."""


def _program(module: str, *names: str) -> tuple[tuple[str, str], ...]:
    where = module if ":" in module else f"{module}:main"
    return tuple((name, f"netemu.runtime.programs.{where}") for name in names)


_AGNHOST = _program("agnhost", "/agnhost", "agnhost")
_NGINX = (*_program("nginx", "nginx", "/usr/sbin/nginx"), *_program("entrypoint", "/docker-entrypoint.sh"))
_APACHE = _program("httpd:apache", "httpd-foreground", "/usr/local/bin/httpd-foreground")
_NGINX_ENV = (("NGINX_VERSION", "1.27.0"),)

IMAGES = (
    Image(("pause",), ("/pause",), programs=_program("pause", "/pause")),
    Image(("agnhost",), ("/agnhost",), ("pause",), _AGNHOST),
    Image(("serve-hostname", "serve_hostname"), ("/agnhost", "serve-hostname"), (), _AGNHOST),
    Image(("netexec",), ("/agnhost", "netexec"), (), _AGNHOST),
    Image(
        ("nginx", "nginx-unprivileged"),
        ("/docker-entrypoint.sh",),
        ("nginx", "-g", "daemon off;"),
        _NGINX,
        _NGINX_ENV,
        stop_signal="SIGQUIT",
    ),
    Image(("httpd",), (), ("httpd-foreground",), _APACHE, stop_signal="SIGWINCH"),
    Image(("busybox", "busybox-extras"), (), ("sh",)),
    Image(("alpine",), (), ("/bin/sh",)),
    Image(("debian", "ubuntu", "fedora", "centos", "rockylinux", "bash"), (), ("bash",)),
    Image(("netshoot",), (), ("bash",)),
    Image(("jessie-dnsutils", "dnsutils", "network-multitool"), (), ("sleep", "infinity")),
    Image(("python",), (), ("python3",)),
    Image(("curl",), ("/entrypoint.sh",), ("curl",), _program("entrypoint", "/entrypoint.sh")),
    Image(("http-echo",), ("/http-echo",), (), _program("echoes:http_echo", "/http-echo", "http-echo")),
    Image(("whoami",), ("/whoami",), (), _program("echoes:whoami", "/whoami", "whoami")),
    Image(("echo-server",), (), ("/echo-server",), _program("echoes:echo_server", "/echo-server")),
    Image(("echoserver",), (), ("/echoserver",), _program("echoes:echoserver", "/echoserver")),
    Image(
        ("hello-app",), (), ("/hello-app",), _program("echoes:hello_app", "/hello-app"), tag="HELLO_APP_TAG"
    ),
    Image(("hello",), (), ("/hello",), _program("echoes:hello", "/hello")),
    Image(("httpbin", "go-httpbin"), (), ("/httpbin",), _program("echoes:httpbin", "/httpbin")),
    Image(("coredns",), ("/coredns",), (), (("/coredns", "netemu.dns.server:main"),)),
)

_BY_NAME = {name: image for image in IMAGES for name in image.names}


def available() -> tuple[str, ...]:
    """Every name an image can be asked for by, sorted."""
    return tuple(sorted(_BY_NAME))


def find(image: str) -> Image:
    """ImageNotFound says what there is; ValueError when `image` is no reference at all."""
    found = _BY_NAME.get(references.parse(image).name)
    if found is None:
        raise ImageNotFound(
            f'image "{image}" is not one netemu can play; it plays {", ".join(available())}',
            hint="use one of these, whose command may be any program of the host",
        )
    return found
