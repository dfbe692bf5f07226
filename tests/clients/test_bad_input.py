"""Bad input to any command, run as a real process: one clear sentence, status 2, never a traceback."""

import http.server
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from pourparler_clients.device import Device
from pourparler_clients.testing import CHEAP, PASSPHRASE, Commands, Done, pourparler
from pourparler_clients.vault import DATABASE_NAME, HEADER_NAME, Vault
from pourparler_crypto.card import CardKey
from pourparler_policies.charter.rules import MAX_CHARTER
from pourparler_policies.charter.testing import text
from pourparler_policies.payload import MAX_TEXT


class Garbage(http.server.BaseHTTPRequestHandler):
    """A service that is none: what it answers stands in the first part of the path."""

    ANSWERS: ClassVar = {
        "html": (200, b"<html>welcome</html>"),
        "empty": (200, b""),
        "json": (200, b'{"hello": []}'),
        "deep": (200, b"[" * 100_000),
        "redirect": (302, b""),
        "broken": (500, b"\xff\xfe"),
        "gateway": (502, b"<html>bad gateway</html>"),
        "problem": (403, b'{"type":"urn:pourparler:problem:\\u001b[2J","title":"","status":403,"detail":""}'),
        "huge": (200, b"x" * 30_000_000),
    }

    def do_GET(self) -> None:
        status, body = self.ANSWERS[self.path.split("/")[1]]
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://192.0.2.1/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def garbage() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Garbage)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Place:
    """Where one case runs: a directory of its own with a vault in it, and a service that is none."""

    root: Path
    garbage: str
    run: Commands

    @property
    def vault(self) -> Path:
        return self.root / "vault"

    def file(self, data: bytes) -> Path:
        path = self.root / "file"
        path.write_bytes(data)
        return path


CARD = CardKey.generate().card("Heron").encode()
GRANT = b"A" * 42 + b"Q"
CHARTER = text()

NOBODY = "http://127.0.0.1:9"

Case = Callable[[Place], Done]


def opening(url: str, charter: str | bytes = CHARTER, *, grant: bytes = GRANT) -> Case:
    return lambda place: place.run(
        *("open", "--vault", place.vault, "--service", url.format(garbage=place.garbage)),
        *("--charter", place.file(charter if isinstance(charter, bytes) else charter.encode())),
        passphrase=PASSPHRASE,
        text=grant,
    )


def checking(data: bytes) -> Case:
    return lambda place: place.run("card", "check", place.file(data))


def on_vault(*arguments: str, passphrase: str | bytes = PASSPHRASE, text: bytes = b"") -> Case:
    return lambda place: place.run(*arguments, "--vault", place.vault, passphrase=passphrase, text=text)


def joining(data: bytes) -> Case:
    return lambda place: place.run("join", place.file(data), "--vault", place.vault, passphrase=PASSPHRASE)


def demonstrating(data: bytes) -> Case:
    return lambda place: place.run("demo", "--text", place.file(data))


def publishing(data: bytes) -> Case:
    return lambda place: place.run("demo", "--communique", place.file(data))


def damaged(name: str, change: Callable[[Path], object]) -> Case:
    def run(place: Place) -> Done:
        change(place.vault / name)
        return place.run("channels", "--vault", place.vault, passphrase=PASSPHRASE)

    return run


def newer(place: Place) -> Done:
    vault = Vault.open(place.vault, PASSPHRASE)
    vault._db.execute("PRAGMA user_version = 99")
    vault.close()
    return place.run("channels", "--vault", place.vault, passphrase=PASSPHRASE)


def second_process(place: Place) -> Done:
    vault = Vault.open(place.vault, PASSPHRASE)
    try:
        return place.run("channels", "--vault", place.vault, passphrase=PASSPHRASE)
    finally:
        vault.close()


# Case -> a piece of its sentence
CASES: dict[str, tuple[Case, str]] = {
    "card: missing file": (lambda place: place.run("card", "check", place.root / "none"), "cannot be read"),
    "card: a directory": (lambda place: place.run("card", "check", place.root), "cannot be read"),
    "card: empty": (checking(b""), "not a card"),
    "card: not UTF-8": (checking(b"\xff\xfe\x00"), "not UTF-8"),
    "card: oversized": (checking(b"x" * 20_000), "larger than any card"),
    "card: cut short": (checking(CARD[:-9].encode()), "incomplete or was altered"),
    "card: altered": (checking(CARD.replace(CARD[60], "A" if CARD[60] != "A" else "B").encode()), "card"),
    "card: odd characters": (checking(CARD[:40].encode() + b"\x1b[2J"), "characters that do not belong"),
    "card new: short passphrase": (
        lambda place: place.run("card", "new", "--name", "A", "--vault", place.root / "v", passphrase="short"),
        "at least 8 characters",
    ),
    "card new: a vault is there": (on_vault("card", "new", "--name", "A"), "not empty"),
    "card new: a file is there": (
        lambda place: place.run(
            *("card", "new", "--name", "A", "--vault", place.file(b"")), passphrase=PASSPHRASE
        ),
        "not empty",
    ),
    "card new: below a file": (
        lambda place: place.run(
            *("card", "new", "--name", "A", "--vault", place.file(b"") / "below"), passphrase=PASSPHRASE
        ),
        "Not a directory",
    ),
    "card new: name with a control": (
        lambda place: place.run(
            *("card", "new", "--name", "A\x1b[2J", "--vault", place.root / "v"), passphrase=PASSPHRASE
        ),
        r"character U\+001B",
    ),
    "card new: name with an override": (
        lambda place: place.run(
            *("card", "new", "--name", "A\u202eB", "--vault", place.root / "v"), passphrase=PASSPHRASE
        ),
        r"character U\+202E",
    ),
    "card new: no name": (
        lambda place: place.run("card", "new", "--name", " ", "--vault", place.root / "v", passphrase=PASSPHRASE),
        "1 to 64 characters",
    ),
    "card show: no place for the file": (
        lambda place: place.run(
            *("card", "show", "--vault", place.vault, "--out", place.root / "no" / "card"), passphrase=PASSPHRASE
        ),
        "No such file or directory",
    ),
    "no vault": (
        lambda place: place.run("channels", "--vault", place.root / "none", passphrase=PASSPHRASE),
        "there is no vault",
    ),
    "wrong passphrase": (on_vault("channels", passphrase="something else"), "does not open the vault"),
    "empty passphrase": (on_vault("channels", passphrase=""), "does not open the vault"),
    "passphrase not UTF-8": (on_vault("channels", passphrase=b"\xff\xfe"), "passphrase is not UTF-8"),
    "passphrase from nowhere": (
        lambda place: place.run("channels", "--vault", place.vault, "--passphrase-fd", "99"),
        "file descriptor 99 cannot be read",
    ),
    "nobody to ask": (lambda place: place.run("channels", "--vault", place.vault), "asked for at a terminal"),
    "vault: header cut": (damaged(HEADER_NAME, lambda path: path.write_bytes(path.read_bytes()[:-1])), "header"),
    "vault: header with an absurd cost": (
        damaged(HEADER_NAME, lambda path: path.write_bytes(path.read_bytes()[:4] + b"\xff" * 8 + bytes(176))),
        "header",
    ),
    "vault: database missing": (damaged(DATABASE_NAME, Path.unlink), "missing or damaged"),
    "vault: database overwritten": (
        damaged(DATABASE_NAME, lambda path: path.write_bytes(b"x" * 8192)),
        "missing or damaged",
    ),
    "vault: of a newer version": (newer, "newer Pourparler"),
    "vault: in use": (second_process, "another process has this vault open"),
    "open: not an address": (opening("hello"), "https://example.org"),
    "open: another scheme": (opening("ftp://example.org"), "https://example.org"),
    "open: broken address": (opening("http://[::1"), "https://example.org"),
    "open: impossible port": (opening("https://example.org:99999"), "https://example.org"),
    "open: impossible host": (opening("https://" + "a" * 70 + ".org"), "does not answer"),
    "open: http to a public host": (opening("http://example.org"), "without https"),
    "open: nobody answers": (opening(NOBODY), "does not answer"),
    "open: charter without a title": (opening(NOBODY, text(title="")), "title"),
    "open: charter of one party": (opening(NOBODY, text(parties=("a",))), "part"),
    "open: charter with words beyond all lives": (
        opening(NOBODY, CHARTER.replace('"7 days"', '"999 days"')),
        "messages: .*400 days",
    ),
    "open: charter with no length of time": (
        opening(NOBODY, CHARTER.replace('"7 days"', '"99999999999 days"')),
        "no length of time",
    ),
    "open: charter with many errors": (
        opening(NOBODY, CHARTER.replace("fingerprint", "finger")),
        r"fingerprint.* and \d+ more; see `pourparler charter check",
    ),
    "open: charter is a card": (opening(NOBODY, CARD), "has errors"),
    "open: charter is empty": (opening(NOBODY, b""), r"has errors: .* more"),
    "open: charter not UTF-8": (opening(NOBODY, b"\xff\xfe"), "not UTF-8"),
    "open: charter oversized": (opening(NOBODY, b"#" * (MAX_CHARTER + 1)), "larger than any charter"),
    "open: charter deeply nested": (opening(NOBODY, b"a = " + b"[" * 50_000), "has errors"),
    "open: charter missing": (
        lambda place: place.run(
            *("open", "--vault", place.vault, "--service", NOBODY, "--charter", place.root / "none"),
            passphrase=PASSPHRASE,
            text=GRANT,
        ),
        "cannot be read",
    ),
    "open: grant is none": (opening(NOBODY, grant=b"hello"), "not a grant"),
    "open: no grant": (opening(NOBODY, grant=b""), "not a grant"),
    "open: grant not UTF-8": (opening(NOBODY, grant=b"\xff"), "not UTF-8"),
    **{
        f"open: service answers {name}": (opening("{garbage}/" + name), sentence)
        for name, sentence in {
            "html": "is this a Pourparler service",
            "empty": "is this a Pourparler service",
            "json": "is this a Pourparler service",
            "deep": "is this a Pourparler service",
            "redirect": "status 302",
            "broken": "status 500",
            "gateway": "does not answer",
            "problem": "status 403",
            "huge": "larger than any answer",
        }.items()
    },
    "join: not an invitation": (joining(CARD.encode()), "not an invitation"),
    "join: empty": (joining(b""), "not an invitation"),
    "join: cut short": (joining(b"pourparler-invitation:AAAA"), "invitation is"),
    "join: not UTF-8": (joining(b"\xff"), "not UTF-8"),
    **{
        f"{name}: no channel": (on_vault(*name.split(), text=b"hello"), "no channel in this vault")
        for name in (
            *(
                "say",
                "read",
                "talk",
                "who",
                "leave --yes",
                "close --yes",
                "resume --yes",
                "table",
                "approve 12345",
            ),
            *("object 12345", "hold ada", "discard ada", "cancel ada", "remove ada"),
            *("propose erase", "propose recess 3d", "propose expel ada"),
        )
    },
    "invite: for too long": (
        lambda place: place.run(
            *("invite", place.file(CARD.encode()), "--for", "15d", "--vault", place.vault), passphrase=PASSPHRASE
        ),
        "at most 14 days",
    ),
    "demo: packages that nothing sounds": (
        lambda place: place.run("demo", "--packages", place.root),
        "--packages are sounded in --shuttle",
    ),
    "demo: a text that the shuttle does not tell": (
        lambda place: place.run("demo", "--shuttle", "--text", place.file(b"x")),
        "not used in --shuttle",
    ),
    "demo: a folder without packages": (
        lambda place: place.run("demo", "--shuttle", "--packages", place.root),
        "has 0 files: 2 to 8 packages are needed",
    ),
    "demo: no folder of packages": (
        lambda place: place.run("demo", "--shuttle", "--packages", place.root / "none"),
        "cannot be read: No such file",
    ),
    "demo: missing file": (lambda place: place.run("demo", "--text", place.root / "none"), "cannot be read"),
    "demo: a directory": (lambda place: place.run("demo", "--text", place.root), "cannot be read"),
    "demo: empty": (demonstrating(b""), "no text in it"),
    "demo: blank": (demonstrating(b" \n\n\t\n"), "no text in it"),
    "demo: not UTF-8": (demonstrating(b"caf\xe9"), "not UTF-8"),
    "demo: a paragraph over the cap": (
        demonstrating(b"short\n\n" + b"x" * (MAX_TEXT + 1)),
        f"paragraph 2 .*{MAX_TEXT + 1} bytes; at most {MAX_TEXT}",
    ),
    "communiqué: missing file": (
        lambda place: place.run("demo", "--communique", place.root / "none"),
        "the communiqué .*none cannot be read: No such file",
    ),
    "communiqué: a directory": (lambda place: place.run("demo", "--communique", place.root), "Is a directory"),
    "communiqué: empty": (publishing(b""), "no text in it"),
    "communiqué: blank": (publishing(b" \n\n\t\n"), "no text in it"),
    "communiqué: a language without words": (publishing(b"[en]\nWords.\n\n[fa]\n\n"), "no text in it"),
    "communiqué: not UTF-8": (publishing(b"caf\xe9"), "not UTF-8"),
    "communiqué: a picture": (publishing(b"\x89PNG\r\n\x1a\n" + bytes(99)), "not UTF-8"),
    "communiqué: zeros": (publishing(bytes(99)), "control character"),
    "communiqué: a direction mark": (publishing("Words \u202e.".encode()), "changes the direction"),
    "communiqué: a language twice": (publishing(b"[en]\na\n[en]\nb\n"), "stands there twice"),
    "communiqué: no such language": (publishing(b"[en-gb]\na\n"), "not language tags"),
    "communiqué: a line of the foot": (publishing(b"a\n\nvoid unless all have signed\n"), "foot"),
    "communiqué: above what a table takes": (publishing(b"A line.\n" * 9000), "larger than a text on the table"),
    "communiqué: above it with its foot": (publishing(b"A line.\n" * 8190), "bytes more"),
    "communiqué: endless": (lambda place: place.run("demo", "--communique", "/dev/zero"), "larger than"),
    "press key: none": (lambda place: place.run("release-key", "check", place.root / "none"), "cannot be read"),
    "press key: a word": (
        lambda place: place.run("release-key", "check", place.file(b"north\n")),
        "incomplete or was altered",
    ),
    "press key: not text": (lambda place: place.run("release-key", "check", place.file(b"\xff")), "not UTF-8"),
    "demo: keep where something is": (
        lambda place: place.run("demo", "--keep", place.root),
        "not empty",
    ),
    "demo: keep in a file": (lambda place: place.run("demo", "--keep", place.file(b"x")), "File exists"),
}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, garbage: str, commands: Commands) -> Callable[[str], Done]:
    root = tmp_path_factory.mktemp("cases")
    Device.create(root / "vault", PASSPHRASE, "Cedar", CHEAP).vault.close()

    def run(name: str) -> Done:
        place = Place(root / str(len([*root.iterdir()])), garbage, commands)
        shutil.copytree(root / "vault", place.vault)
        return CASES[name][0](place)

    return run


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_one_clear_sentence_and_status_2(name: str, results: Callable[[str], Done]) -> None:
    done = results(name)
    assert "Traceback" not in done.errors
    assert done.status == 2, done
    lines = [line for line in done.errors.splitlines() if not line.endswith("…")]  # progress ends so
    assert len(lines) == 1, lines
    assert lines[0].startswith("pourparler: ")
    assert re.search(CASES[name][1], lines[0]), lines[0]
    assert "\x1b" not in done.errors
    assert PASSPHRASE not in done.errors + done.out


@pytest.mark.parametrize(
    "arguments",
    [
        *((), ("nonsense",), ("card",), ("open",), ("say", "--life", "0s"), ("say", "--life", "soon")),
        *(("approve",), ("propose",), ("propose", "recess", "soon"), ("propose", "nonsense"), ("hold",)),
    ],
    ids=" ".join,
)
def test_wrong_use_of_the_command_line_shows_how_to_use_it(arguments: tuple[str, ...], commands: Commands) -> None:
    done = commands(*arguments)
    assert done.status == 2
    assert "usage: pourparler" in done.errors + done.out
    assert "Traceback" not in done.errors


def test_bad_input_to_the_installed_program_is_told_alike(tmp_path: Path) -> None:
    done = pourparler("card", "check", tmp_path / "none")
    assert (done.status, done.out) == (2, "")
    assert done.errors.startswith("pourparler: the card ")
