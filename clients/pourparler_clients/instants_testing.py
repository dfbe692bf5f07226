"""What lies on a disk at every instant of an act: a process is stopped after each system call (ptrace(2), Linux).

Between two system calls of the one thread that writes nothing on the disk changes, so these images are all that a power
cut can leave of what was written in order; `torn` adds writes of which only a beginning arrived. What a disk does
not keep although it was told to (fsync) is not imitated. No SQL and no network here.
"""

import ctypes
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

_TRACEME, _SYSCALL, _SETOPTIONS = 0, 24, 0x4200
_OPTIONS: Final = 0x1 | 0x100000  # a stop at a system call is told apart; a child does not outlive its tracer
_AT_CALL: Final = signal.SIGTRAP | 0x80
_SECTOR: Final = 512  # bytes: less than this a disk writes whole or not at all

Image = dict[str, bytes]  # a directory's files, by their names


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    library.ptrace.restype = ctypes.c_long
    return library


def _ptrace(request: int, pid: int, data: int = 0) -> None:
    if _library().ptrace(request, pid, None, data) == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"ptrace: {os.strerror(code)}")


def to_be_watched() -> None:
    """Called in a child before it executes a program that `instants` will watch."""
    _ptrace(_TRACEME, 0)


def forked(prepare: Callable[[], Callable[[], object]]) -> int:
    """A child that prepares and then, watched, does what `prepare` returned; its number."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        act = prepare()
        to_be_watched()
        os.kill(os.getpid(), signal.SIGSTOP)
        act()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def instants(pid: int, directory: Path, begun: Callable[[], bool] = lambda: True) -> tuple[list[Image], int]:
    """Every image of a directory's files from when it has `begun` until the child has ended, each once in a row; and
    the child's status.
    """
    seen: list[Image] = []
    started, inside = False, False
    while True:
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            break
        stop = os.WSTOPSIG(status)
        if not started:  # its own SIGSTOP, or the new program's first stop
            _ptrace(_SETOPTIONS, pid, _OPTIONS)
            started, stop = True, 0
        elif stop == _AT_CALL:
            inside, stop = not inside, 0
        if not inside and begun():
            image = read(directory)
            if not seen or image != seen[-1]:
                seen.append(image)
        _ptrace(_SYSCALL, pid, stop)
    seen.append(read(directory))
    return seen, os.waitstatus_to_exitcode(status)


def spread(images: Iterable[Image], at_most: int) -> list[Image]:
    """All of them if POURPARLER_LONG is set; else, for each has to be opened, so many evenly spread, and those on both
    sides of where a file comes or goes.
    """
    every = list(images)
    if os.environ.get("POURPARLER_LONG") or len(every) <= at_most:
        return every
    chosen = {place * (len(every) - 1) // (at_most - 1) for place in range(at_most)}
    for place, (before, after) in enumerate(pairwise(every)):
        if set(before) != set(after):
            chosen |= {place, place + 1}
    return [every[place] for place in sorted(chosen)]


def read(directory: Path) -> Image:
    """The files of a directory as they are."""
    if not directory.exists():
        return {}
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}


def lay(image: Image, directory: Path) -> Path:
    """An image as files again, in a new directory."""
    directory.mkdir(parents=True)
    for name, data in image.items():
        (directory / name).write_bytes(data)
    return directory


def torn(images: list[Image], *files: str) -> Iterator[Image]:
    """Between two images, what there would be if of a write into one of these files half had arrived."""
    for before, after in pairwise(images):
        for name in files:
            old, new = before.get(name), after.get(name)
            if old is None or new is None or old == new or len(new) < len(old):
                continue
            first = next(
                (n for n in range(0, len(new), _SECTOR) if old[n : n + _SECTOR] != new[n : n + _SECTOR]), 0
            )
            last = max(n for n in range(first, len(new), _SECTOR) if old[n : n + _SECTOR] != new[n : n + _SECTOR])
            middle = first + (last - first) // 2 // _SECTOR * _SECTOR
            if first < middle:
                yield before | {name: new[:middle] + old[middle:]}
