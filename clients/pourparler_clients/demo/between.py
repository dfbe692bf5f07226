"""The first part of the shuttle's demonstration: the two rooms, and a message that is carried from one to the other."""

import json
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from ..examine import found, stored_texts, traces, vault_pages
from .processes import DemoError, Process, run, serve, with_secrets

Say = Callable[[str], None]
HYPOTHETICAL: Final = (
    "Suppose the wells were shared by days. Which days would have to be ours, for it to be worth a talk?"
)
COUNTER: Final = "Half of the days, and the feast days. Do not say that it is we who count in days."
_GREETING: Final = "We are all here."
GIST: Final = "Sharing by time is not excluded over there, if feasts are thought of."


@dataclass(eq=False)
class Room:
    """One side: who speaks, who decides, and the intermediary's compartment; their vaults and running talks."""

    title: str
    names: tuple[str, str]
    bridge: str
    word: str  # how the story calls the side
    party: str  # and how a joint text does
    talks: dict[str, Process] = field(default_factory=dict)

    @property
    def signer(self) -> Process:
        """The talk of who signs for the side: its first."""
        return self.talks[self.names[0]]

    @property
    def everybody(self) -> tuple[str, ...]:
        """The side's two, then the compartment."""
        return (*self.names, self.bridge)


@dataclass
class Shuttle:
    """The whole of it: where it lies, and how each vault is opened."""

    root: Path
    say: Say
    stack: ExitStack
    north: Room
    south: Room
    url: str = ""
    pace: float = 0.0  # seconds that this machine took to seat everybody: sets how long appointments are
    passphrases: dict[str, str] = field(default_factory=dict)

    def vault(self, name: str) -> Path:
        """Where somebody's vault is."""
        return self.root / f"vault-{name.lower()}"

    def command(self, name: str, *arguments: str) -> list[dict[str, Any]]:
        """Runs one command in somebody's vault; returns what it said."""
        done = run([*arguments, "--vault", str(self.vault(name)), "--json"], self.passphrases[name])
        return [json.loads(line) for line in done.splitlines()]

    def crossing(self, source: Room, target: Room, *arguments: str) -> list[dict[str, Any]]:
        """Runs a command in which both compartments are open."""
        options = ["--vault", str(self.vault(source.bridge)), "--to", str(self.vault(target.bridge)), "--json"]
        secret = (self.passphrases[source.bridge], self.passphrases[target.bridge])
        with with_secrets(*secret) as (first, second):
            chosen = ["--passphrase-fd", str(first), "--to-passphrase-fd", str(second)]
            done = run([*arguments, *options, *chosen], descriptors=(first, second))
        return [json.loads(line) for line in done.splitlines()]

    def file(self, name: str, text: str) -> Path:
        """A file with a text in it."""
        path = self.root / name
        path.write_text(text + "\n", encoding="utf-8")
        return path


def set_up(demo: Shuttle) -> None:
    """A service, and a room for each side with the intermediary in it."""
    say, data = demo.say, demo.root / "server"
    server, demo.url = serve(data, ["--newcomer-handshakes", "12"])
    demo.stack.callback(server.stop)
    say(
        f"1. A service runs at {demo.url}. Two sides will not sit in one room. Each has a room of its own, with the"
    )
    say(
        "   intermediary in it: in each under another name, with another card, in a vault of its own. Meanwhile, in"
    )
    begun = time.monotonic()
    for room in (demo.north, demo.south):
        for name in room.everybody:
            demo.passphrases[name] = secrets.token_urlsafe(18)
            card = json.loads(
                run(
                    ["card", "new", "--vault", str(demo.vault(name)), "--name", name, "--json"],
                    demo.passphrases[name],
                )
            )
            demo.file(f"{name}.card", card["card"])
        _press_key(demo, room)
        grant = run(["grant", "--data", str(data)]).strip().splitlines()[-1]
        _found(demo, room, grant)
        say(
            f"     “{room.title}”: {' and '.join(room.names)} of {room.word}, and {room.bridge}, the intermediary."
        )
    demo.pace = (time.monotonic() - begun) / 2


def _press_key(demo: Shuttle, room: Room) -> None:
    """A release key of the side, kept by who signs; the other side has it from where it is published."""
    first = room.names[0]
    demo.command(first, "release-key", "new", "--name", f"{first.lower()}.example")
    demo.command(first, "release-key", "show", "--out", str(demo.root / f"{first}.key"))
    other = demo.south if room is demo.north else demo.north
    key = (demo.root / f"{first}.key").read_text(encoding="utf-8").strip()
    demo.file(f"{other.names[0]}.book", f"{key} {room.party}")


def _found(demo: Shuttle, room: Room, grant: str) -> None:
    first, second = room.names
    charter = demo.root / f"{first}.toml"
    text = (files("pourparler_clients") / "demo" / "side.toml").read_text(encoding="utf-8")
    charter.write_text(text.replace("TITLE", room.title), encoding="utf-8")
    places = zip(room.everybody, ("speakers:delegate", "leadership:delegate", "bridge:intermediary"), strict=True)
    cards = [f"--card={place}={demo.root / f'{name}.card'}" for name, place in places]
    run(["charter", "add", str(charter), *cards])
    opening = ["open", "--vault", str(demo.vault(first)), "--service", demo.url, "--charter", str(charter)]
    run(opening, demo.passphrases[first], grant + "\n")
    _seat(demo, room, second)
    _seat(demo, room, room.bridge)
    # Whoever shows this has attested everybody. A compartment is opened when it is needed, and closed again.
    room.signer.write(json.dumps({"say": _GREETING}))
    for process in room.talks.values():
        process.event(event="said", text=_GREETING)
    room.talks.pop(room.bridge).end_of_input()


def _seat(demo: Shuttle, room: Room, name: str) -> None:
    """Invited by the first, approved by whoever is there, seated, attested by all."""
    first = room.names[0]
    if first in room.talks:
        room.talks.pop(first).end_of_input()
    invitation = demo.root / f"{name}.invitation"
    demo.command(first, "invite", str(demo.root / f"{name}.card"), "--out", str(invitation))
    _talk(demo, room, first)
    joining = Process(
        ["join", str(invitation), "--vault", str(demo.vault(name)), "--accept", "--wait", "3m", "--json"],
        demo.passphrases[name],
    )
    demo.stack.callback(joining.stop)
    others = [process for who, process in room.talks.items() if who != first]
    for process in others:
        _, proposed = process.event(event="proposed")
        process.write(json.dumps({"do": f"approve {proposed['code']}"}))
    joining.event(title=room.title)
    joining.end_of_input()
    _talk(demo, room, name)
    for process in room.talks.values():
        process.event(event="attested", name=name)


def _talk(demo: Shuttle, room: Room, name: str) -> None:
    process = Process(["talk", "--vault", str(demo.vault(name)), "--json"], demo.passphrases[name])
    demo.stack.callback(process.stop)
    process.event(event="ready")
    room.talks[name] = process


def do(room: Room, name: str, words: str) -> None:
    """Somebody writes this behind a slash."""
    room.talks[name].write(json.dumps({"do": words}))


# A message, and what came of it


def carry(demo: Shuttle) -> None:
    """A message as a hypothetical, its counter as a gist, and what the program refuses on the way."""
    say, north, south = demo.say, demo.north, demo.south
    author, receiver = north.names[0], south.names[0]
    asked, counter, gist = (
        demo.file("message.txt", HYPOTHETICAL),
        demo.file("counter.txt", COUNTER),
        demo.file("gist.txt", GIST),
    )
    say(f"2. {author} hands {north.bridge} a message to carry: as a hypothetical, word for word.")
    do(north, author, f"hand '{asked}' --source hypothetical --fidelity verbatim --expires 12h")
    _, item = north.talks[author].event(event="handed over")
    say(f"     {author}: “{HYPOTHETICAL}”")
    wrong = ("carry", item["code"], "--side", north.title, "--delay", "2s", "--pause", "1s")
    _refused(demo, north, south, "nothing was carried", *wrong)
    say("     The intermediary names the wrong room: nothing is carried. Then the right one, read back:")
    demo.crossing(
        north, south, "carry", item["code"], "--side", south.title, "--delay", "4s", "--pause", "1s", "--wait"
    )
    _, carried = north.talks[author].event(event="shuttle", what="carried")
    if carried["code"] != item["code"]:
        raise DemoError("another message was carried than the one that was named: this is a defect")
    _, put = south.talks[receiver].event(event="shuttle", what="put")
    say(
        f"     It left at a random moment, sealed anew. {receiver} reads it as what it is: {put['source']}; nothing"
    )
    say(f"     says who wrote it, or whether anybody did. {author} sees: carried.")
    terms = "--source idea --fidelity gist --held-until 'I have asked at home' --judge us"
    do(south, receiver, f"answer {put['code']} counter '{counter}' {terms}")
    _, answer = south.talks[receiver].event(event="handed over")
    say(f"3. {receiver} counters, to {south.bridge} alone, and holds it until home was asked:")
    say(f"     {receiver}: “{COUNTER}”")
    words = (
        "pass-on",
        answer["code"],
        "--about",
        item["code"],
        "--side",
        north.title,
        "--delay",
        "4s",
        "--pause",
        "1s",
        "--wait",
    )
    for reason, given in (("it is held until", gist), ("say it in yours", counter)):
        _refused(demo, south, north, reason, *words, "--gist", str(given))
        if given is gist:
            say(f"     {south.bridge} cannot pass it on yet: it is held. {receiver} frees it.")
            do(south, receiver, f"free {answer['code']}")
            south.talks[receiver].event(event="freed")
    say(f"     {south.bridge} cannot pass on its very words either: the terms say gist.")
    demo.crossing(south, north, *words, "--gist", str(gist))
    _, passed = north.talks[author].event(event="shuttle", what="put")
    say(
        f"     In other words it crosses: {author} reads, about its message, {passed['answer']}, as {passed['source']}:"
    )
    say(f"     “{passed['text']}”")
    desk = demo.command(north.bridge, "shuttle")[-1]
    say(f"     The desk of {north.bridge} shows this side alone: {len(desk['done'])} of its messages passed on.")


def _refused(demo: Shuttle, source: Room, target: Room, why: str, *arguments: str) -> None:
    """The program refuses this, for this reason."""
    try:
        demo.crossing(source, target, *arguments)
    except DemoError as error:
        if why not in str(error):
            raise
    else:
        raise DemoError("something crossed against its terms: this is a defect, please report it")


def search(demo: Shuttle) -> bool:
    """Each compartment is searched with its passphrase, for anything of the other side."""
    demo.say("4. Both compartments are searched, with their passphrases, every byte and every page:")
    clean = True
    for own, other in ((demo.north, demo.south), (demo.south, demo.north)):
        place, secret = demo.vault(own.bridge), demo.passphrases[own.bridge]
        names = [name.encode() for name in (*other.everybody, other.title)]
        words = {trace for text in (HYPOTHETICAL, COUNTER, GIST) for trace in traces(text)}
        there = len(found([*names, *words], vault_pages(place, secret)))
        clean = clean and there == 0
        own_names = len(found([name.encode() for name in own.everybody], vault_pages(place, secret)))
        count = len(stored_texts(place, secret))
        demo.say(
            f"     that of {own.bridge:<8} names {own_names} people of its own side and {there} things of the other; "
            f"{count} texts lie there under keys whose other half the service has"
        )
    demo.say(
        "   One says nothing of the other." if clean else "   SOMETHING IS THERE: a defect, please report it."
    )
    return clean
