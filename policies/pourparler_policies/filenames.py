"""Names of files that travel: one component of a path that no system, shell or eye takes for something else.

1. Whoever attaches a file gets a clear refusal of a bad name (`check_file_name`).
2. A name that came in is a stranger's word: it is shown and used only as `harmless` makes it.
3. `harmless` never makes a name that `check_file_name` refuses, and leaves alone what that one takes.

Bad are: separators, control and format characters (among them those that turn the line), characters that Windows
refuses, its names for devices, names that hide a file (a dot first), pass for an option (a dash first) or end in a
dot or blank, which Windows drops.
"""

import unicodedata
from typing import Final

from .errors import Misuse

MAX_FILE_NAME: Final = 255  # bytes of UTF-8: what file systems take
_MAX_ENDING: Final = 16  # bytes of an ending (".html") that survives when a name is cut
_FORBIDDEN: Final = frozenset('<>:"/\\|?*')  # Windows' own list; / and \ part components
_JOINERS: Final = "\u200c\u200d"  # names in Persian or Sinhala need them
_DEVICES: Final = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"}
    | {port + number for port in ("COM", "LPT") for number in "0123456789¹²³"}
)  # Windows takes these for devices, whatever ending follows


def check_file_name(name: str) -> str:
    """A file's name in NFC, if it can travel; raises Misuse with the reason otherwise."""
    name = unicodedata.normalize("NFC", name)
    for char in name:
        if _is_bad(char):
            raise Misuse(f"a file's name must not hold the character U+{ord(char):04X}: rename the file")
    if name != name.strip() or name.endswith("."):
        raise Misuse("a file's name must not begin or end with a blank, or end with a dot: rename the file")
    if name.startswith((".", "-")):
        raise Misuse("a file's name must not begin with a dot or a dash: rename the file")
    if _is_device(name):
        raise Misuse("some systems take a file of this name for a device: rename the file")
    if not 0 < len(name.encode()) <= MAX_FILE_NAME:
        raise Misuse(f"a file's name has 1 to {MAX_FILE_NAME} bytes: rename the file")
    return name


def harmless(name: str) -> str:
    """A name like this one that can be shown and used anywhere: 1 to 255 bytes, one component of a path."""
    name = "".join("_" if _is_bad(char) else char for char in unicodedata.normalize("NFC", name))
    name = _trimmed(unicodedata.normalize("NFC", name))
    if not name:
        return "file"
    if name.startswith((".", "-")) or _is_device(name):
        name = "_" + name
    return fit(name)


def fit(name: str, mark: str = "") -> str:
    """The name cut to MAX_FILE_NAME bytes, with a `mark` before its ending: `fit("a.txt", " (2)")` is "a (2).txt"."""
    stem, dot, ending = name.rpartition(".")
    if not stem or len((dot + ending).encode()) > _MAX_ENDING:
        stem, dot, ending = name, "", ""
    room = MAX_FILE_NAME - len((mark + dot + ending).encode())
    if len(stem.encode()) > room:
        stem = _trimmed(stem.encode()[:room].decode(errors="ignore"))
    return stem + mark + dot + ending


def _is_bad(char: str) -> bool:
    if char in _JOINERS:
        return False
    return char in _FORBIDDEN or unicodedata.category(char)[0] == "C" or unicodedata.category(char) in ("Zl", "Zp")


def _is_device(name: str) -> bool:
    return name.partition(".")[0].rstrip().upper() in _DEVICES


def _trimmed(name: str) -> str:
    while name != (shorter := name.strip().rstrip(".")):
        name = shorter
    return name
