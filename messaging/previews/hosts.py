"""Limits how often a host is asked, since anybody may name it in many links."""

import socket
from collections import deque
from ipaddress import ip_address

import trio

HOST_PAGES, HOST_SECONDS = 10, 60.0
"""Requests to one host in so many seconds."""


class Hosts:
    """Counts the requests to each host in the last HOST_SECONDS."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}

    def take(self, host: str) -> bool:
        """Count a request to the host; False, without counting it, if there are HOST_PAGES."""
        host, now = _in_one_form(host), trio.current_time()
        since = now - HOST_SECONDS
        self._times = {each: times for each, times in self._times.items() if times[-1] > since}
        times = self._times.setdefault(host, deque(maxlen=HOST_PAGES))
        if len(times) == HOST_PAGES and times[0] > since:
            return False
        times.append(now)
        return True


def _in_one_form(host: str) -> str:
    """The name or the address of a host, which has many forms: an IPv4 address may be one number, also hexadecimal and
    with any number of zeros in front."""
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        pass
    try:
        return ip_address(host).compressed
    except ValueError:
        return host.rstrip(".")
