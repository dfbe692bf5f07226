"""Real processes of the real program: one server, and one process for each device.

A process that does not answer in time, or ends when it should not, raises DemoError with its own words.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import PourparlerError

PATIENCE: Final = 60.0  # seconds: far longer than any step takes on a slow machine
_PROGRAM: Final = (sys.executable, "-m", "pourparler_clients.cli")


class DemoError(PourparlerError):
    """The demonstration did not get through; the sentence says where."""


def run(
    arguments: Sequence[str],
    passphrase: str | None = None,
    text: str | None = None,
    descriptors: Sequence[int] = (),
) -> str:
    """Runs one command to its end and returns what it printed. `descriptors` go to it as they are."""
    with _descriptor(passphrase) as options:
        done = subprocess.run(  # noqa: S603 -- our own program, arguments made here
            [*_PROGRAM, *arguments, *options.arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            pass_fds=(*options.descriptors, *descriptors),
            check=False,
        )
    if done.returncode != 0:
        raise DemoError(f"`pourparler {arguments[0]}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def examined(data: Path, keys: Path) -> set[bytes]:
    """SHA-256 of every entry that a copy of the service's files gives, under whatever keys another copy holds."""
    done = subprocess.run(  # noqa: S603 -- our own program, arguments made here
        [sys.executable, "-m", "pourparler_service.examine", str(data), str(keys)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DemoError(f"the service's files could not be examined: {done.stderr.strip()}")
    return {bytes.fromhex(line) for line in done.stdout.split()}


class _Options:
    def __init__(self, arguments: list[str], descriptors: tuple[int, ...]) -> None:
        self.arguments = arguments
        self.descriptors = descriptors


@contextlib.contextmanager
def _descriptor(passphrase: str | None) -> Any:
    """A pipe with the passphrase in it: it is never an argument and never a file."""
    if passphrase is None:
        yield _Options([], ())
        return
    reading, writing = os.pipe()
    try:
        os.write(writing, passphrase.encode() + b"\n")
        os.close(writing)
        yield _Options(["--passphrase-fd", str(reading)], (reading,))
    finally:
        os.close(reading)


@contextlib.contextmanager
def with_secrets(*secrets: str) -> Iterator[tuple[int, ...]]:
    """Pipes with a secret in each, for a command that takes several: their reading ends."""
    reading = []
    try:
        for secret in secrets:
            end, writing = os.pipe()
            reading.append(end)
            os.write(writing, secret.encode() + b"\n")
            os.close(writing)
        yield tuple(reading)
    finally:
        for end in reading:
            os.close(end)


class Process:
    """A command that goes on: its lines arrive with the time at which they were read."""

    def __init__(
        self, arguments: Sequence[str], passphrase: str | None = None, descriptors: Sequence[int] = ()
    ) -> None:
        self.name = arguments[0]
        with _descriptor(passphrase) as options:
            self._process = subprocess.Popen(  # noqa: S603 -- our own program, arguments made here
                [*_PROGRAM, *arguments, *options.arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                bufsize=1,
                pass_fds=(*options.descriptors, *descriptors),
            )
        self._lines: queue.Queue[tuple[float, str] | None] = queue.Queue()
        self._errors: list[str] = []
        self._readers = [threading.Thread(target=one, daemon=True) for one in (self._read, self._read_errors)]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """The operating system's number of this process."""
        return self._process.pid

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put((time.perf_counter(), line.rstrip("\n")))
        self._lines.put(None)

    def _read_errors(self) -> None:
        self._errors.extend(self._process.stderr or ())

    def write(self, line: str) -> None:
        """One line of input."""
        if self._process.stdin is None:
            raise DemoError("this process takes no input")
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def wait_for(self, wanted: Callable[[str], bool], patience: float = PATIENCE) -> tuple[float, str]:
        """The next line that is wanted, and when it came (seconds of perf_counter)."""
        deadline = time.monotonic() + patience
        while True:
            try:
                item = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise DemoError(f"`pourparler {self.name}` did not answer in {patience:.0f} seconds") from None
            if item is None:
                self._process.wait(5)
                said = " ".join(self._errors).strip()
                raise DemoError(f"`pourparler {self.name}` ended too early: {said or 'it gave no reason'}")
            if wanted(item[1]):
                return item

    def event(self, patience: float = PATIENCE, **fields: Any) -> tuple[float, dict[str, Any]]:
        """The next line that is an object with these fields."""

        def matches(line: str) -> bool:
            try:
                record = json.loads(line)
            except ValueError:
                return False
            if record.get("event") == "error" and fields.get("event") != "error":
                raise DemoError(f"`pourparler {self.name}`: {record.get('text')}")
            return all(record.get(key) == value for key, value in fields.items())

        when, line = self.wait_for(matches, patience)
        return when, json.loads(line)

    def _close(self) -> None:
        for reader in self._readers:
            reader.join(5)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def stop(self) -> None:
        """Ends the process as an operator or a user would; kills it if it does not listen."""
        if self._process.poll() is None:
            if self._process.stdin is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        self._close()

    def end_of_input(self) -> None:
        """Closes its input and waits until it has ended by itself."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            raise DemoError(f"`pourparler {self.name}` did not end") from None
        self._close()


def serve(data: Path, options: Sequence[str] = ()) -> tuple[Process, str]:
    """A server process and its address."""
    process = Process(["serve", "--data", str(data), "--port", "0", *options])
    _, line = process.wait_for(lambda text: text.startswith("listening on "))
    return process, line.removeprefix("listening on ").strip()
