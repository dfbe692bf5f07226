"""The last part of the demonstration: a joint text, from its draft to signatures that OpenSSL verifies."""

import base64
import json
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from pourparler_crypto.note import Note, PressKey, Refused, ReleaseKey
from pourparler_policies.release.facts import MAX_NOTE
from pourparler_policies.wire import Route

from ..errors import UserError
from ..papers import as_words, compose
from .processes import PATIENCE, DemoError, Process, run

_HEADING: Final = re.compile(r"\[([a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*)\]")
_OPEN: Final = "(The hour is still to be agreed.)"
_SHORTEST: Final = 25  # seconds that people have to sign: the budget of changes has to fill meanwhile
_SPKI: Final = bytes.fromhex("302a300506032b6570032100")  # RFC 8410, 4: an Ed25519 public key follows

# Any three keys do to see whether words can be a communiqué; the names have the length of the longest in the story.
_SIGNERS: Final = [
    (name * 32, PressKey(f"{name * 16}.example", ReleaseKey(bytes([number]) * 32).public))
    for number, name in enumerate("abc", 1)
]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Cast:
    """Who signs: people's names, their running `talk`, and the name of each one's party."""

    talks: dict[str, Process]
    parties: dict[str, str]
    root: Path
    url: str
    pace: float  # seconds that this machine took to seat two people: sets how long appointments are

    @property
    def sign_within(self) -> int:
        """Seconds that people have to sign."""
        return max(_SHORTEST, round(self.pace))

    @property
    def hour(self) -> int:
        """Seconds from the first draft to publication: wording, two appointments, and devices to complete."""
        return 3 * self.sign_within + 15


def sections(data: bytes, name: str) -> list[tuple[str, str]]:
    """Language and words of a Markdown file; `[en]` on a line of its own begins a language. Raises UserError."""
    if len(data) > MAX_NOTE:
        raise UserError(f"{name} is larger than a text on the table may be ({MAX_NOTE // 1024} KiB)")
    try:
        text = as_words(data.decode())
    except UnicodeDecodeError:
        raise UserError(f"{name} is not UTF-8 text") from None
    found: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        heading = _HEADING.fullmatch(line.strip())
        if heading is not None:
            found.append((heading[1], []))
        elif found or line.strip():
            if not found:
                found.append(("und", []))
            found[-1][1].append(line.rstrip())
    words = [(language, "\n".join(lines).strip("\n")) for language, lines in found]
    if not words or not all(text.strip() for _, text in words):
        raise UserError(f"{name} has no text in it")
    return words


def check(words: Sequence[tuple[str, str]], name: str) -> None:
    """Raises UserError when these words cannot be a communiqué of the demonstration, in its first draft too."""
    try:
        text = compose(_drafted(words), _SIGNERS, 2**31).text
    except Refused as refused:
        raise UserError(f"{name} cannot be published like this: {refused}") from None
    if len(text) > MAX_NOTE:
        raise UserError(
            f"{name} is too large: with its foot a text on the table has at most {MAX_NOTE // 1024} KiB, and it would "
            f"have {len(text) - MAX_NOTE} bytes more"
        )


def _drafted(words: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(language, f"{text}\n\n{_OPEN}") for language, text in words]


def tell(cast: Cast, words: Sequence[tuple[str, str]], say: Say) -> Path:
    """Two revisions, a withdrawal, a new appointment, three signatures, the board. Returns the note's file."""
    first, second, third = cast.talks
    say("10. A joint text. Each party has a press key of its own, apart from the cards. Nothing is signed yet:")
    keys = " ".join(
        "--key " + shlex.quote(f"{party}={cast.root / f'{name}.key'}") for name, party in cast.parties.items()
    )
    drafted = _files(cast, _drafted(words), "draft")
    _do(cast, first, f"release draft {drafted} {keys} --not-before +{cast.hour}s --life 3d")
    _all(cast, event="text")
    _do(cast, second, f"release comment {shlex.quote(str(_remark(cast)))}")
    _all(cast, event="remarked")
    _do(cast, third, f"release revise {_files(cast, words, 'revision')}")
    _all(cast, event="text")
    say(f"     {first} drafts, {second} comments, {third} revises: a second revision is on the table.")
    for name in cast.talks:
        _do(cast, name, "release initial")
        _all(cast, event="initialled")
    say("     All three initial it: a word among them, no key is involved.")
    _appoint(cast, first)
    _do(cast, first, f"release sign --as '{cast.parties[first]}'")
    _do(cast, second, "release withdraw")
    say(f"     {first} signs; {second} withdraws. Nobody is told who did what: the appointment just lapses …")
    _all(cast, event="lapsed")
    _appoint(cast, third)
    for name, party in cast.parties.items():
        _do(cast, name, f"release sign --as '{party}'")
        cast.talks[name].event(event="signed")
    say("     A second appointment: all three sign, each in the name of its party. At the hour it is published:")
    _all(cast, event="released")
    note = cast.root / "communique.note"
    _do(cast, first, f"release export --out {shlex.quote(str(note))}")
    cast.talks[first].event(event="exported")
    _verify(cast, note, say)
    return note


def _files(cast: Cast, words: Sequence[tuple[str, str]], stem: str) -> str:
    given = []
    for language, text in words:
        path = cast.root / f"{stem}.{language}.md"
        path.write_text(text + "\n", encoding="utf-8")
        given.append(shlex.quote(f"{language}={path}"))
    return " ".join(given)


def _remark(cast: Cast) -> Path:
    path = cast.root / "remark.txt"
    path.write_text("We can live with it if no hour is named.\n", encoding="utf-8")
    return path


def _appoint(cast: Cast, name: str) -> None:
    _do(cast, name, f"release appoint --sign-within {cast.sign_within}s --deposit-within 5s")
    _all(cast, event="release", stage="asked")


def _do(cast: Cast, name: str, words: str) -> None:
    cast.talks[name].write(json.dumps({"do": words}))


def _all(cast: Cast, **fields: str) -> None:
    for process in cast.talks.values():
        process.event(cast.hour + PATIENCE, **fields)


def _verify(cast: Cast, path: Path, say: Say) -> None:
    note = Note.parse(path.read_bytes())
    verified = json.loads(run(["verify", str(path), "--json"]).splitlines()[-1])
    count, whole = openssl(note), len(note.signatures)
    say(
        f"     `pourparler verify`: {'every signature is valid' if verified else 'not valid'}, without any connection."
    )
    say(f"     OpenSSL alone: {count} of {whole} signatures verify." if count >= 0 else "     (No openssl here.)")
    if 0 <= count < whole:
        raise DemoError("OpenSSL does not verify every signature: this is a defect, please report it")
    say(f"     Anybody reads it, while this service runs, at {read_at(cast.url, note)}")


def read_at(service: str, note: Note) -> str:
    """The address of a note's page on a service's board, where it was found just now. Raises DemoError."""
    digest = note.communique.digest.hex()
    place = service + Route.BOARD_PAGE.replace("{digest}", digest)
    try:
        page = httpx.get(place, trust_env=False, timeout=PATIENCE)
    except httpx.HTTPError:
        raise DemoError(f"the service does not answer at {place}") from None
    if page.status_code != httpx.codes.OK or digest not in page.text:
        raise DemoError(f"the board does not show the text at {place}: this is a defect, please report it")
    return place


def openssl(note: Note) -> int:
    """How many signatures the openssl program verifies; -1 when there is none."""
    program = shutil.which("openssl")
    if program is None:
        return -1
    valid = 0
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "text").write_bytes(note.communique.text)
        for key, signature in zip(note.communique.keys, note.signatures, strict=True):
            pem = base64.encodebytes(_SPKI + key).decode()
            (place / "key.pem").write_text(f"-----BEGIN PUBLIC KEY-----\n{pem}-----END PUBLIC KEY-----\n")
            (place / "signature").write_bytes(signature)
            done = subprocess.run(  # noqa: S603 -- the system's openssl, arguments made here
                [
                    *(program, "pkeyutl", "-verify", "-pubin", "-inkey", str(place / "key.pem"), "-rawin"),
                    *("-in", str(place / "text"), "-sigfile", str(place / "signature")),
                ],
                capture_output=True,
                check=False,
            )
            valid += done.returncode == 0
    return valid
