"""Who plays, and how four people and their devices come to be in one channel: real commands, one process a device."""

import json
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from .processes import PATIENCE, DemoError, Process, run, serve

# Cedar, Heron and Lantern sign for their parties; Willow is Cedar's colleague, who travels.
SIGNERS: Final = ("Cedar", "Heron", "Lantern")
TRAVELLER: Final = "Willow"
NAMES: Final = (*SIGNERS, TRAVELLER)
PLACES: Final = (
    "north:delegate",
    "south:delegate",
    "lake:delegate",
    "north:delegate",
)  # in the charter, in this order
PARTIES: Final = ("The northern village", "The southern village", "The village at the lake")
TITLE: Final = "Two wells"  # the charter's
_LOOK: Final = 0.3  # seconds between looks
_AT_ONCE: Final = 2  # vaults made at the same time: each takes 256 MiB for a second, against guessing

Say = Callable[[str], None]


@dataclass
class Demo:
    """What the parts of the story share. `root` holds everything: the service's files, the vaults, the papers."""

    root: Path
    say: Say
    stack: ExitStack
    life: int = 0  # seconds that each message lives
    url: str = ""  # the service's
    pace: float = 0.0  # seconds that it took to seat three people
    passphrases: dict[str, str] = field(default_factory=dict)
    talks: dict[str, Process] = field(default_factory=dict)

    def vault(self, name: str) -> Path:
        """The directory of this person's vault."""
        return self.root / f"vault-{name.lower()}"

    def card(self, name: str, *, again: bool = False) -> Path:
        """The file of this person's card; `again`: of the second one."""
        return self.root / f"{name}{'-again' if again else ''}.card"


def set_up(demo: Demo) -> None:
    """A service, four vaults, a charter, and a channel in which everybody has attested everybody."""
    say = demo.say
    data = demo.root / "server"
    # A newcomer may act at once here; by default it has to wait for some seconds (docs/protocol.md, 2).
    server, demo.url = serve(data, ["--newcomer-handshakes", "12"])
    demo.stack.callback(server.stop)
    say(f"1. A service runs as a process of its own (number {server.pid}) at {demo.url}. It will read nothing.")
    grant = run(["grant", "--data", str(data)]).strip().splitlines()[-1]
    say("2. Four people, four devices, each with its own vault and card:")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for name, digits in zip(NAMES, pool.map(lambda name: _equip(demo, name), NAMES), strict=True):
            say(f"     {name:<8} check digits {digits}")
    charter = demo.root / "charter.toml"
    charter.write_bytes((files("pourparler_clients") / "demo" / "charter.toml").read_bytes())
    cards = [f"--card={place}={demo.card(name)}" for name, place in zip(NAMES, PLACES, strict=True)]
    run(["charter", "add", str(charter), *cards])
    run(["charter", "check", str(charter)])
    say(f"3. A charter under which three villages meet; {TRAVELLER} and {NAMES[0]} are of the same. It begins:")
    explained = json.loads(run(["charter", "explain", str(charter), "--json"]))
    say(f"     “{explained['paragraphs'][0]}”")
    first = NAMES[0]
    opening = ["open", "--vault", str(demo.vault(first)), "--service", demo.url, "--charter", str(charter)]
    run(opening, demo.passphrases[first], grant + "\n")
    say(f"4. {first} opens the channel under it. Nobody enters without every party:")
    begun = time.monotonic()
    _found(demo)
    _admit(demo)
    demo.pace = time.monotonic() - begun


def _equip(demo: Demo, name: str) -> str:
    """A vault with a card, and a press key for who will sign. Returns the card's check digits."""
    digits = new_card(demo, name)
    if name in SIGNERS:
        # The party's, kept in this vault and published beforehand, as a press key is.
        vault = ["--vault", str(demo.vault(name)), "--json"]
        run(["release-key", "new", "--name", f"{name.lower()}.example", *vault], demo.passphrases[name])
        run(["release-key", "show", "--out", str(demo.root / f"{name}.key"), *vault], demo.passphrases[name])
    return digits


def new_card(demo: Demo, name: str, *, again: bool = False) -> str:
    """A new vault with a new card, under a new passphrase. Returns the card's check digits."""
    demo.passphrases[name] = secrets.token_urlsafe(18)
    arguments = ["card", "new", "--vault", str(demo.vault(name)), "--name", name, "--json"]
    card = json.loads(run(arguments, demo.passphrases[name]))
    demo.card(name, again=again).write_text(card["card"] + "\n")
    return str(card["check_digits"])


def _found(demo: Demo) -> None:
    """Those whom one party alone can seat: so far nobody else is there."""
    first, second, _, fourth = NAMES
    invitations = {name: invite(demo, first, name) for name in (second, fourth)}
    talk(demo, first)
    joining = {name: join(demo, name, invitation) for name, invitation in invitations.items()}
    for process in joining.values():
        seated(process)
    for name in joining:
        talk(demo, name)
    attested(demo, *joining)
    demo.say(
        f"     {second} and {fourth} read the charter, accepted it and have a seat. Their devices attested each"
    )
    demo.say("     other by themselves, and nothing that anybody keeps proves it to somebody else.")


def _admit(demo: Demo) -> None:
    """A seat that one party wants alone, and then both."""
    first, second, third, _ = NAMES
    demo.talks.pop(first).end_of_input()
    invitation = invite(demo, first, third)
    talk(demo, first)
    joining = join(demo, third, invitation)
    _, waiting = demo.talks[first].event(event="invitation", name=third, step="waiting")
    demo.say(f"     {third} accepted too, and is not let in: {waiting['reason']}.")
    _, proposed = demo.talks[second].event(event="proposed")
    do(demo, second, f"approve {proposed['code']}")
    demo.talks[first].event(event="invitation", name=third, step="seated")
    seated(joining)
    talk(demo, third)
    attested(demo, third)
    demo.say(f"     {second} approves it: now {third} has a seat, and every device has")
    demo.say("     attested it.")


def talk(demo: Demo, name: str) -> None:
    """That person's device is online from now on."""
    arguments = ["talk", "--vault", str(demo.vault(name)), "--json", "--life", f"{demo.life}s"]
    process = Process(arguments, demo.passphrases[name])
    demo.stack.callback(process.stop)
    process.event(event="ready")
    demo.talks[name] = process


def do(demo: Demo, name: str, words: str) -> None:
    """A line behind a slash, in that person's talk."""
    demo.talks[name].write(json.dumps({"do": words}))


def invite(demo: Demo, inviter: str, name: str, *, again: bool = False) -> Path:
    """An invitation, made while the inviter's device does not talk; `again`: for the second card."""
    card = demo.card(name, again=again)
    invitation = card.with_suffix(".invitation")
    arguments = ["invite", str(card), "--vault", str(demo.vault(inviter)), "--json", "--out", str(invitation)]
    run(arguments, demo.passphrases[inviter])
    return invitation


def join(demo: Demo, name: str, invitation: Path) -> Process:
    """That person answers the invitation and accepts the charter; `seated` waits for the seat."""
    arguments = ["join", str(invitation), "--vault", str(demo.vault(name)), "--accept", "--wait", "2m", "--json"]
    process = Process(arguments, demo.passphrases[name])
    demo.stack.callback(process.stop)
    return process


def seated(joining: Process) -> None:
    """Waits until who joins has a seat."""
    joining.event(2 * 60, title=TITLE)
    joining.end_of_input()


def attested(demo: Demo, *names: str) -> None:
    """Waits until every device that is online has attested these people's, and counts them as present."""
    deadline = time.monotonic() + 2 * PATIENCE
    for watching in demo.talks:
        while not set(names) <= {
            place["name"]
            for place in who(demo, watching)
            if place["phase"] == "present" and (place["you"] or place["attested_by_you"])
        }:
            if time.monotonic() > deadline:
                raise DemoError(f"{watching}'s device has not attested {' and '.join(names)} in time")
            time.sleep(_LOOK)


def who(demo: Demo, name: str) -> list[dict[str, Any]]:
    """Everybody's place in the channel, as that person's device has it now."""
    do(demo, name, "who")
    _, record = demo.talks[name].event(title=TITLE)
    members: list[dict[str, Any]] = record["members"]
    return members
