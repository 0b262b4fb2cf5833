"""Machines of a network on this one machine: network namespaces on a bridge that nothing else is on.

What runs in them reaches the others and this machine's files, and nothing outside; nothing outside reaches it.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator

NETWORK = "10.211.0"


class NoNamespacesError(Exception):
    """This machine, or this user, can't make them."""


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[str]]:
    """Makes as many; gives their names. Raises NoNamespacesError where none can be made."""
    hub, *names = (f"rookery-{os.getpid()}-{number}" for number in range(count + 1))
    try:
        _ip("netns", "add", hub)
        _ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", hub, "link", "set", "bridge", "up")
        for number, name in enumerate(names):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"to{number}", "netns", hub)
            _ip("-n", hub, "link", "set", f"to{number}", "master", "bridge", "up")
            _ip("-n", name, "address", "add", f"{address(number)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            # leads nowhere: Ray looks by which address it would reach the internet
            _ip("-n", name, "route", "add", "default", "via", f"{NETWORK}.254")
        yield names
    finally:
        for name in (hub, *names):
            with contextlib.suppress(NoNamespacesError):
                _ip("netns", "delete", name)


def address(number: int) -> str:
    """Gives the address of the first, the second, … namespace."""
    return f"{NETWORK}.{number + 1}"


def inside(name: str, command: list[str]) -> list[str]:
    """Makes a command that runs another in a namespace."""
    return ["ip", "netns", "exec", name, *command]


def _ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    except OSError as error:
        raise NoNamespacesError(str(error)) from error
    except subprocess.CalledProcessError as error:
        raise NoNamespacesError(f"ip {' '.join(arguments)}: {error.stderr.strip()}") from error
