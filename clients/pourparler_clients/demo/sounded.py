"""The last part of the shuttle's demonstration: a package that all could accept, and its release in both copies."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pourparler_crypto.note import Note

from .between import Room, Shuttle, do
from .processes import PATIENCE, DemoError, Process, run, with_secrets
from .release import openssl

Package = tuple[str, list[tuple[str, str]]]  # its name, and its words by language
_ANSWER: Final = 15  # seconds at least that people have to answer, and devices to hand in
_ROUND: Final = 40  # seconds at least that a round takes to be carried to and fro five times
_DEPOSIT: Final = 10  # seconds for devices after the last signature


def as_asked(words: Sequence[tuple[str, str]]) -> str:
    """The text that people are asked about: all languages, one after the other."""
    return "\n\n".join(text for _, text in words)


def sound(demo: Shuttle, packages: Sequence[Package]) -> Package:
    """Deals the packages to both sides; returns the one that all accept."""
    say, common = demo.say, len(packages) // 2
    paths = [demo.file(f"package-{number}.txt", as_asked(words)) for number, (_, words) in enumerate(packages, 1)]
    within = round(max(_ANSWER, demo.pace / 2))
    say(
        f"5. {len(packages)} packages. The intermediary asks all four people at once, under seal, which of them they"
    )
    say("   could accept:")
    with both(demo, "--also-vault", "--also-passphrase-fd") as (options, descriptors):
        times = ["--answer-within", f"{within}s", "--collect-within", f"{within}s", "--spread", "2s"]
        run(["sound", "deal", *map(str, paths), *times, *options], descriptors=descriptors)
    choices = {demo.north: range(1, common + 2), demo.south: range(common + 1, len(packages) + 1)}
    for room, accepted in choices.items():
        for name in room.names:
            room.talks[name].event(event="sounding", text="ready", patience=PATIENCE + within)
            do(room, name, f"sound answer {' '.join(map(str, accepted))} --yes")
            room.talks[name].event(event="answered")
        say(
            f"     {room.word}: its people could accept {', '.join(map(str, accepted))}. That stays on their devices."
        )
    for room in choices:
        for name in room.names:
            _, counted = room.talks[name].event(event="counted", patience=PATIENCE + 3 * within)
            if counted.get("text") != str(common + 1):
                raise DemoError("a sounding came out otherwise than people answered: this is a defect")
    say(
        f"     At the close, on every device: all accept package {common + 1} (“{packages[common][0]}”). Of the others"
    )
    say("     nothing is shown, to anybody.")
    return packages[common]


def release(demo: Shuttle, package: Package) -> list[Path]:
    """The text that suits both, released in both sides' copies. Returns the notes' files."""
    say, words = demo.say, package[1]
    within = round(_ROUND + demo.pace)
    say("6. That text becomes the one text, which the intermediary keeps. Each side is first in its own copy.")
    files = []
    for language, text in words:
        files.append(f"{language}={demo.file(f'text.{language}.md', text)}")
    keys = [f"--key={room.party}={demo.root / f'{room.names[0]}.key'}" for room in (demo.north, demo.south)]
    hour = round(within + _DEPOSIT + 15 + demo.pace / 2)
    _between(demo, "draft", *files, *keys, "--not-before", f"+{hour}s", "--life", "3d", "--parallel")
    for room in (demo.north, demo.south):
        for name in room.names:
            room.talks[name].event(event="text")
            do(room, name, "onetext agree")
            room.talks[name].event(event="agreed")
    say("     All four can live with it: a word in their own rooms, no key is involved.")
    _between(demo, "appoint", "--sign-within", f"{within}s", "--deposit-within", f"{_DEPOSIT}s")
    for room in (demo.north, demo.south):
        room.signer.event(event="arranged")
        do(room, room.names[0], "onetext ready")
        room.signer.event(event="ready")
    carrying = _carry(demo, hour + round(PATIENCE))
    for room in (demo.north, demo.south):
        room.signer.event(event="release", stage="asked", patience=within + PATIENCE)
    say(
        "     The intermediary has carried the rounds to and fro, sealed from signer to signer: it could open none."
    )
    for room in (demo.north, demo.south):
        do(room, room.names[0], f"onetext sign --keys '{demo.root / f'{room.names[0]}.book'}' --as '{room.party}'")
        room.signer.event(event="signed")
    say(
        f"     {demo.north.names[0]} and {demo.south.names[0]} sign, each in its own room. At the hour it is published:"
    )
    notes = []
    for room in (demo.north, demo.south):
        room.signer.event(event="release", stage="published", patience=hour + PATIENCE)
        note = demo.root / f"{room.names[0]}.note"
        do(room, room.names[0], f"onetext export --out '{note}'")
        room.signer.event(event="exported")
        notes.append(note)
        _verify(demo, room, note)
    carrying.stop()
    return notes


def both(demo: Shuttle, vault: str, descriptor: str) -> "_Both":
    """Options for a command that opens both compartments, and the descriptors of their passphrases."""
    return _Both(demo, vault, descriptor)


class _Both:
    def __init__(self, demo: Shuttle, vault: str, descriptor: str) -> None:
        self._demo, self._vault, self._descriptor = demo, vault, descriptor
        bridges = (demo.north.bridge, demo.south.bridge)
        self._bridges = bridges
        self._pipes = with_secrets(*(demo.passphrases[name] for name in bridges))

    def __enter__(self) -> tuple[list[str], tuple[int, ...]]:
        first, second = descriptors = self._pipes.__enter__()
        north, south = (str(self._demo.vault(name)) for name in self._bridges)
        options = ["--vault", north, self._vault, south, "--json"]
        return [*options, "--passphrase-fd", str(first), self._descriptor, str(second)], descriptors

    def __exit__(self, *error: object) -> None:
        self._pipes.__exit__(None, None, None)


def _between(demo: Shuttle, *arguments: str) -> None:
    with both(demo, "--side", "--side-passphrase-fd") as (options, descriptors):
        run(["onetext", *arguments, *options], descriptors=descriptors)


def _carry(demo: Shuttle, seconds: int) -> Process:
    with both(demo, "--side", "--side-passphrase-fd") as (options, descriptors):
        process = Process(["onetext", "carry", "--for", f"{seconds}s", *options], descriptors=descriptors)
    demo.stack.callback(process.stop)
    return process


def _verify(demo: Shuttle, room: Room, path: Path) -> None:
    note = Note.parse(path.read_bytes())
    verified = json.loads(run(["verify", str(path), "--json"]).splitlines()[-1])
    first = note.communique.foot.signatories[0].name
    count = openssl(note)
    if not verified or first != room.party or 0 <= count < len(note.signatures):
        raise DemoError("a published copy does not verify: this is a defect, please report it")
    stock = f"OpenSSL verifies {count} of {len(note.signatures)}" if count >= 0 else "(no openssl here)"
    demo.say(f"     {room.word}'s copy, “{first}” first: every signature is valid; {stock}.")
