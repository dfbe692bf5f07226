"""The subcommands `pourparler serve`, `pourparler grant` and `pourparler backup`.

The service logs neither requests nor addresses, and prints one line when it is ready. A fault is logged by its
kind alone.
"""

import argparse
import asyncio
import base64
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pourparler_policies.limits import TOKEN_BYTES

from . import logs
from .caps import Caps
from .settings import Settings, add_options

_EXIT_MISUSE = 2
LONGEST_GRANT = 3650  # days


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the subcommands; each parser's `func` takes the arguments and returns an exit status."""
    serve = subparsers.add_parser("serve", help="run the service", description=__doc__.partition("\n\n")[2])
    add_options(serve)
    serve.add_argument(
        "--check", action="store_true", help="do not serve: say what is wrong with these settings, if anything is"
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    serve.add_argument("--port", type=int, default=8470, help="0 picks a free one (default: 8470)")
    serve.add_argument(
        "--restored", action="store_true", help="the data come from a backup: begin a new incarnation"
    )
    serve.add_argument(
        "--metrics-port",
        type=int,
        metavar="PORT",
        help="tell Prometheus how the service is, at this port of the same address (default: tell nobody)",
    )
    Caps.add_options(serve)
    serve.set_defaults(func=run_serve)

    grant = subparsers.add_parser("grant", help="make a one-time grant to create a channel")
    add_options(grant, "data", "database-url", "outside-backups-url")
    grant.add_argument("--expires", type=float, metavar="DAYS", help="days until an unused grant lapses")
    end = grant.add_mutually_exclusive_group()
    end.add_argument(
        "--revoke", action="store_true", help="make none: end the grant that is given on standard input, if unused"
    )
    end.add_argument("--revoke-all", action="store_true", help="make none: end every grant that was not used yet")
    grant.set_defaults(func=run_grant)

    backup = subparsers.add_parser(
        "backup", help="copy the service's database while it runs, and what may be copied"
    )
    backup.add_argument("--data", type=Path, required=True, metavar="DIR", help="the service's data directory")
    backup.add_argument(
        "--to",
        type=Path,
        required=True,
        metavar="FILE",
        help="where the copy goes; an older one there is replaced",
    )
    backup.set_defaults(func=run_backup)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is the command line


def _fail(sentence: str) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201
    return _EXIT_MISUSE


def run_serve(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. 0 after a clean stop, 2 when it could not start."""
    from .database import DataError  # noqa: PLC0415 - `pourparler --help` should not load a web framework

    try:
        settings = Settings.from_options(args)
        if args.check:
            return _check(settings, args)
        listener = _listen(args.host, args.port)
    except ValueError as error:
        return _fail(f"{error}.")
    except OSError as error:
        return _fail(_cannot_listen(args.host, args.port, error))
    logs.begin()
    try:
        with listener:
            _run(settings, listener, args.host, args.metrics_port)
    except DataError as error:
        return _fail(str(error))
    return 0


def _check(settings: Settings, args: argparse.Namespace) -> int:
    """Say what is wrong. 0 when nothing is."""
    from .checking import look, look_around, visible  # noqa: PLC0415 - as above

    found = visible(args) + look_around(args.config, os.environ) + look(settings)
    for port in (args.port, args.metrics_port):
        if port:
            try:
                _listen(args.host, port, warn=False).close()
            except OSError as error:
                found.append(_cannot_listen(args.host, port, error))
    for sentence in found:
        _say(sentence)
    if not found:
        _say("Nothing is wrong with these settings.")
    return _EXIT_MISUSE if found else 0


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    return f"Cannot listen on {host} port {port}: {(error.strerror or str(error)).rstrip('.')}."


def _listen(host: str, port: int, *, warn: bool = True) -> socket.socket:
    if not 0 <= port <= 65535:
        raise ValueError(f"A port lies between 0 and 65535, not {port}")
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    if warn and not ipaddress.ip_address(address[0]).is_loopback:
        print(  # noqa: T201
            "Warning: this address can be reached from other machines, and this server speaks no TLS: "
            "put a proxy with TLS or an onion service before it.",
            file=sys.stderr,
        )
    return listener


def _run(settings: Any, listener: socket.socket, host: str, metrics_port: int | None) -> None:
    import uvicorn  # noqa: PLC0415
    import uvloop  # noqa: PLC0415

    from .app import create_app  # noqa: PLC0415
    from .connection import Connection, raise_descriptors  # noqa: PLC0415
    from .metrics import open_door  # noqa: PLC0415

    raise_descriptors()
    app = create_app(settings)

    class Server(uvicorn.Server):
        """Says when it is ready, and ends the streams first when it stops."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            # uvicorn raises the signal again when it is done; a service that was asked to stop has not failed.
            stops = (signal.SIGTERM, signal.SIGINT)
            before = {one: signal.signal(one, self.handle_exit) for one in stops}
            try:
                yield
            finally:
                for one, handler in before.items():
                    signal.signal(one, handler)

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            shown = f"[{host}]" if ":" in host else host
            if self.started and door is not None:
                _say(f"metrics on http://{shown}:{door.port}/metrics")
            if self.started:
                _say(f"listening on http://{shown}:{listener.getsockname()[1]}")
                _tell_manager()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            if app.hub is not None:
                app.hub.end_all()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        interface="asgi3",
        access_log=False,
        log_config=None,
        log_level="critical",  # uvicorn's messages name addresses
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,  # seconds for requests under way
        backlog=2048,
    )
    door = open_door(app.metrics, settings.data, host, metrics_port)
    server = Server(config)
    # uvicorn leaves by SystemExit when the application could not start; the reason is known here.
    try:
        with contextlib.suppress(SystemExit), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve(sockets=[listener]))
    finally:
        if door is not None:
            door.close()
    if app.failure is not None:
        raise app.failure


def _tell_manager() -> None:
    """Where systemd started this process and waits for it (Type=notify): requests are taken from now on."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        try:
            line.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            logging.getLogger("pourparler.service").warning(
                "systemd could not be told that this process is ready: %s", error.strerror
            )


def run_grant(args: argparse.Namespace) -> int:
    """Print a new grant, once; it is stored only as a hash. Or end grants: 0 when that is what came of it."""
    from .database import DataError  # noqa: PLC0415 - as above
    from .grants import issue_by  # noqa: PLC0415

    if args.expires is not None and not 0 < args.expires <= LONGEST_GRANT:
        return _fail(f"A grant lapses after more than 0 and at most {LONGEST_GRANT} days.")
    try:
        settings = Settings.from_options(args)
        if args.revoke or args.revoke_all:
            return _revoke(settings, every=args.revoke_all)
        (grant,) = issue_by(settings, days=args.expires)
    except DataError as error:
        return _fail(str(error))
    except ValueError as error:
        return _fail(f"{error}.")
    _say(base64.urlsafe_b64encode(grant).decode().rstrip("="))
    return 0


def _revoke(settings: Settings, *, every: bool) -> int:
    from .access import unpad  # noqa: PLC0415 - as above
    from .grants import Revoked, revoke, revoke_all  # noqa: PLC0415

    if every:
        _say(f"Unused grants that were ended: {revoke_all(settings)}.")
        return 0
    if sys.stdin.isatty():
        print("The grant to revoke:", file=sys.stderr)  # noqa: T201
    grant = unpad(sys.stdin.readline(200).strip(), TOKEN_BYTES)  # not an option: others on this machine see those
    if grant is None:
        return _fail("That is no grant: one is the 43 letters and digits that `pourparler grant` printed.")
    told = revoke(settings, grant)
    if told is not Revoked.ENDED:
        return _fail(told.value)
    _say(told.value)
    return 0


def run_backup(args: argparse.Namespace) -> int:
    """Copy the database. 0 when the copy is whole and on the disk."""
    from .backup import back_up  # noqa: PLC0415 - as above
    from .database import DataError  # noqa: PLC0415

    try:
        size = back_up(args.data, args.to)
    except DataError as error:
        return _fail(str(error))
    _say(
        f"{args.to}: {size} bytes. No word that was said opens from it; what was agreed, and when, does not end in it."
    )
    return 0
