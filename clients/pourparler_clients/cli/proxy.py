"""`pourparler proxy`: through which SOCKS proxy, for instance Tor, this device reaches services."""

import argparse
import asyncio
from typing import Any, Final

from ..proxy import TOR
from .common import GlobalOptions, emit, open_device

_NONE: Final = "none"
_MEANS: Final = (
    "Everything goes through it, and nothing past it: while it is not there, nothing is sent or received. The service "
    "sees the proxy's address instead of yours, and each connection takes its own way. What was sent before is known."
)
_DIRECT: Final = (
    "No proxy: the operator of a service, and the network you are in, see from which address this device comes."
)


def add_commands(commands: Any, options: GlobalOptions) -> None:
    """Registers `proxy`."""
    proxy = commands.add_parser("proxy", help="reach services through Tor, or another SOCKS proxy")
    options.add(proxy)
    proxy.add_argument(
        "address",
        nargs="?",
        metavar="ADDRESS",
        help=f"tor (that is {TOR}), the address of a SOCKS 5 proxy, or none; without it: what is set",
    )
    proxy.set_defaults(func=_proxy)


def _proxy(arguments: argparse.Namespace) -> int:
    device = open_device(arguments)
    try:
        if arguments.address is not None:
            device.set_proxy({_NONE: "", "tor": TOR}.get(arguments.address.lower(), arguments.address))
        now = device.proxy
    finally:
        asyncio.run(device.aclose())
    emit(arguments, {"proxy": now}, [f"Proxy: {now}", _MEANS] if now else [_DIRECT])
    return 0
