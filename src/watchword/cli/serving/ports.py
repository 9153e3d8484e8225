"""Takes the port before anything else starts."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack

from watchword.cli.exits import CommandError
from watchword.platforms import claim_port
from watchword.settings import Settings

BACKLOG = 2048
# Clients try either for `localhost`.
_LOCALHOST = (
    (socket.AF_INET, "127.0.0.1"),
    (socket.AF_INET6, "::1"),
)
# A host's name may have addresses of a family that is not in use.
_ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def listen(settings: Settings) -> list[socket.socket]:
    """Listen for the service. Raises as `listen_on`."""
    return listen_on(settings.host, settings.port, flag="--port")


def listen_on(host: str, port: int, *, flag: str) -> list[socket.socket]:
    """Return a listening socket for each address of the host.

    :param flag: how the port is chosen, for the hint.

    :raises CommandError: the port is taken, or the host has no address here.
    """
    with ExitStack() as opened:
        listeners: list[socket.socket] = []
        absent: OSError | None = None
        for family, address in _addresses(host, port, flag):
            try:
                listener = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
                _bind(listener, address, alone=family == socket.AF_INET6 and host != "::")
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise _taken(host, port, flag, error) from error
                absent = error
            else:
                listeners.append(listener)
        if not listeners:
            raise _taken(host, port, flag, absent or OSError("it has no address")) from absent
        opened.pop_all()
        return listeners


def _addresses(host: str, port: int, flag: str) -> list[tuple[int, tuple[object, ...]]]:
    if host == "localhost":
        return [(family, (address, port)) for family, address in _LOCALHOST]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise CommandError(
            f"there is no address {host}", f"choose another with {flag.replace('port', 'host')}"
        ) from error
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))


def _bind(listener: socket.socket, address: tuple[object, ...], *, alone: bool) -> None:
    claim_port(listener)
    if alone:  # IPv4 has its own listener
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(address)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    listener.set_inheritable(True)


def _taken(host: str, port: int, flag: str, error: OSError) -> CommandError:
    reason = (error.strerror or str(error)).lower()
    hint = f"stop what runs there, or choose another port with {flag}"
    return CommandError(f"cannot listen on {host} port {port}: {reason}", hint)
