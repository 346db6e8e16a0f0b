"""Which addresses may be called. A shop names the URL, so it must not lead into our own network.

The URL is read by one strict rule, and the connection is made from what that rule read: there is no second parser that
could see another host. Names are resolved once, every address they have is judged, and the connection goes to a judged
address, so that a name that changes between check and connect changes nothing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.errors import InvalidInput

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: A name or an address as text -> every address it has. Raises OSError.
Resolver = Callable[[str, int], Sequence[str]]

URL_MAX = 512
RESOLVE_SECONDS = 5.0

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_URL = re.compile(
    rf"(?P<scheme>https?)://(?:\[(?P<v6>[0-9A-Fa-f:.]{{2,45}})\]|(?P<host>{_LABEL}(?:\.{_LABEL})*))"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/[A-Za-z0-9/._~%!$&'()*+,;=:@-]*)?(?P<query>\?[A-Za-z0-9/._~%!$&'()*+,;=:@?-]*)?",
    re.ASCII,
)
#: A last label of this shape makes the whole host a number to some programs: 2130706433, 127.1, 0x7f.0.0.1.
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)", re.ASCII)

#: Prefixes of IPv6 that carry an IPv4 address which is judged in their place.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_TEREDO = ipaddress.IPv6Network("2001::/32")
#: Not for the public, though some versions of `ipaddress` call parts of them global (RFC 6890, RFC 7526).
_RESERVED_V4 = (ipaddress.IPv4Network("192.0.0.0/24"), ipaddress.IPv4Network("192.88.99.0/24"))


class Forbidden(Exception):
    """The host is, or has, an address that may not be called."""


class NoSuchName(Exception):
    """The host's name leads nowhere at this moment."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart. `path` has the query in it."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


_PORTS = {"https": 443, "http": 80}


def resolve(host: str, port: int) -> Sequence[str]:
    """The system's resolver, but not for ever. Raises OSError."""
    found: list[Sequence[str] | OSError] = []

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.append(list(dict.fromkeys(str(answer[4][0]) for answer in answers)))
        except (OSError, UnicodeError) as error:
            found.append(OSError(str(error)))

    asking = threading.Thread(target=ask, name="resolver", daemon=True)  # getaddrinfo knows no time-out
    asking.start()
    asking.join(RESOLVE_SECONDS)
    if not found:
        raise OSError("no answer of the resolver in time")
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


class Guard:
    """`allowed`: networks that may be called though they are private, and by plain http."""

    def __init__(self, allowed: Sequence[Network] = (), resolver: Resolver = resolve) -> None:
        self._allowed = tuple(allowed)
        self._resolve = resolver

    def check(self, url: str, pointer: str = "/url") -> Target:
        """The URL taken apart, judged without asking any server. Raises `InvalidInput`, code `url_invalid`."""
        target = _parse(url, pointer)
        literal = _literal(target.host)
        if literal is not None and not self._may(literal, target.scheme):
            raise _refused(pointer, "its address may not be called: private, local or reserved")
        if target.scheme == "http" and not self._allowed:
            raise _refused(pointer, "must begin with https://")
        if "." not in target.host and literal is None and not self._allowed:
            raise _refused(pointer, "must have a full host name")
        return target

    def addresses(self, target: Target) -> list[str]:
        """Where the target may be reached now. Raises `Forbidden` when any of its addresses may not be called, and
        `NoSuchName`."""
        try:
            found = [ipaddress.ip_address(text.partition("%")[0]) for text in self._resolve(target.host, target.port)]
        except (OSError, ValueError) as error:
            raise NoSuchName(target.host) from error
        if not found:
            raise NoSuchName(target.host)
        for address in found:
            if not self._may(address, target.scheme):
                raise Forbidden(str(address))
        return [str(address) for address in found]

    def _may(self, address: Address, scheme: str) -> bool:
        inner = _inner(address)
        if any(inner.version == net.version and inner in net for net in self._allowed):
            return True
        return scheme == "https" and _public(inner)


def _parse(url: str, pointer: str) -> Target:
    found = _URL.fullmatch(url)
    if found is None or len(url) > URL_MAX:
        raise _refused(
            pointer, "must be an ASCII https URL of at most 512 characters, without user, fragment or spaces"
        )
    host = (found["v6"] or found["host"]).lower()
    if found["v6"] is None and _NUMBER.fullmatch(host) and _literal(host) is None:
        raise _refused(pointer, "an IPv4 address is four decimal numbers")
    if found["v6"] is not None and (":" not in host or _literal(host) is None):
        raise _refused(pointer, "is no IPv6 address")
    if len(host) > 253:
        raise _refused(pointer, "the host name is too long")
    scheme = found["scheme"]
    port = int(found["port"]) if found["port"] else _PORTS[scheme]
    if not (1024 <= port <= 65535 or port == _PORTS[scheme]):
        raise _refused(pointer, f"the port must be {_PORTS[scheme]}, or 1024 to 65535")
    return Target(scheme, host, port, (found["path"] or "/") + (found["query"] or ""))


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _inner(address: Address) -> Address:
    """The address that is meant: IPv6 has several ways to carry an IPv4 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    for carried in (address.ipv4_mapped, address.sixtofour):
        if carried is not None:
            return carried
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _public(address: Address) -> bool:
    if address.is_multicast or address.is_reserved or address.is_unspecified or not address.is_global:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _RESERVED_V4)
    return address in _GLOBAL_V6 and address not in _TEREDO


def _refused(pointer: str, rule: str) -> InvalidInput:
    return InvalidInput(pointer, rule, "url_invalid")
