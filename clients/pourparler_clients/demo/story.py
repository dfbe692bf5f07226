"""The story of the demonstration, told in plain words while it happens."""

import asyncio
import hashlib
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from typing import Final

from pourparler_policies import wire
from pourparler_policies.errors import Misuse
from pourparler_policies.limits import SHORT_STEP
from pourparler_policies.payload import check_text

from ..api import Api
from ..errors import Refused, UserError
from ..examine import examining, files_below, found, open_texts, possible_halves, stored_texts, traces, vault_pages
from ..store import ChannelStore, Row
from . import journey, release
from .processes import examined
from .stage import NAMES, PARTIES, SIGNERS, Demo, Say, set_up

MAX_FILE: Final = 8 * 1024 * 1024  # bytes
_PACE: Final = 0.25  # seconds a paragraph may take on a slow machine: sets how long messages live
_SHORTEST: Final = 15  # seconds
_LONGEST: Final = 24 * 3600  # seconds: longer than any message of the demonstration lives
_TOO_SLOW: Final = (
    "the messages live for {life} seconds, and this machine was too slow to look at all of them meanwhile: try again "
    "when it has less to do"
)


def paragraphs(text: bytes, name: str) -> list[str]:
    """The messages of a text: its paragraphs. Raises UserError with one clear sentence."""
    if len(text) > MAX_FILE:
        raise UserError(f"{name} is larger than {MAX_FILE // 1024 // 1024} MiB")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{name} is not UTF-8 text") from None
    blocks: list[list[str]] = [[]]
    for line in decoded.splitlines():
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    found_blocks = ["\n".join(block) for block in blocks if block]
    if not found_blocks:
        raise UserError(f"{name} has no text in it")
    for number, block in enumerate(found_blocks, 1):
        try:
            check_text(block)
        except Misuse as error:
            raise UserError(f"paragraph {number} of {name}: {error}") from None
    return found_blocks


def tell(messages: list[str], words: list[tuple[str, str]], keep: Path | None, say: Say) -> int:
    """Runs the whole story; `words` are the communiqué's, by language.

    0 when everything held, 1 when something was left that should not be.
    """
    with ExitStack() as stack:
        root = keep if keep is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise UserError(f"{root} is not empty: choose another directory to keep things in")
        demo = Demo(root, say, stack)
        demo.life = max(_SHORTEST, round(_PACE * len(messages)) + _SHORTEST)
        set_up(demo)
        journey.tell(demo)
        last = _exchange(demo, messages)
        sealed = _look_before(demo, messages)
        _let_expire(demo, last)
        clean = _look_after(demo, messages, sealed)
        talks = {name: demo.talks[name] for name in SIGNERS}
        cast = release.Cast(talks, dict(zip(SIGNERS, PARTIES, strict=True)), demo.root, demo.url, demo.pace)
        release.tell(cast, words, say)
        for process in demo.talks.values():
            process.end_of_input()
        if keep is not None:
            _keep(demo)
    say("" if keep is not None else "Everything was cleaned up.")
    return 0 if clean else 1


def _exchange(demo: Demo, messages: list[str]) -> float:
    """Says every paragraph, in turn; returns the time (Unix seconds) of the last."""
    say = demo.say
    say(f"6. They talk: {len(messages)} messages, each by one and to the three others, through the service.")
    received: dict[str, int] = dict.fromkeys(NAMES, 0)
    delays: list[float] = []
    begun = time.perf_counter()
    for number, text in enumerate(messages):
        author = NAMES[number % len(NAMES)]
        sent = time.perf_counter()
        demo.talks[author].write(json.dumps({"say": text}))
        for name in NAMES:
            when, record = demo.talks[name].event(event="said", text=text, name=author)
            if name != author:
                received[name] += 1
                delays.append(when - sent)
            elif not record["own"]:
                raise UserError("a device did not know its own message")
        if len(messages) > 50 and (number + 1) % 50 == 0:
            say(f"     {number + 1} of {len(messages)} …")
    took = time.perf_counter() - begun
    for name in NAMES:
        others = sum(1 for number in range(len(messages)) if NAMES[number % len(NAMES)] != name)
        say(f"     {name:<8} received {received[name]} of {others} messages of the others, word for word.")
    ordered = sorted(delays)
    say(
        f"     From saying to reading: median {statistics.median(ordered) * 1000:.0f} ms, "
        f"19 of 20 within {ordered[round(0.95 * (len(ordered) - 1))] * 1000:.0f} ms; "
        f"{len(messages) / took:.0f} messages a second, one after the other."
    )
    return time.time()


def _image(demo: Demo, name: str, target: Path) -> Path:
    """A copy of a vault as somebody would take it from a running device."""
    return Path(shutil.copytree(demo.vault(name), target / name))


def _copies(demo: Demo, when: str) -> Path:
    """Copies of every vault and of the service's files."""
    place = demo.root / f"copied-{when}"
    for name in NAMES:
        _image(demo, name, place)
    shutil.copytree(demo.root / "server", place / "server")
    return place


def _readable(demo: Demo, messages: list[str], copies: Path, name: str, halves: Iterable[bytes]) -> int:
    """How many texts somebody reads in a copied vault who has its passphrase and these halves of keys."""
    opened = open_texts(stored_texts(copies / name, demo.passphrases[name]), halves)
    pages = vault_pages(copies / name, demo.passphrases[name])
    return _count(messages, found({trace for text in messages for trace in traces(text)}, chain(opened, pages)))


def _look_before(demo: Demo, messages: list[str]) -> set[bytes]:
    """Shows that the search works: who copies a device while the texts live, and asks the service, reads them."""
    say = demo.say
    say("7. While the messages live, everything is copied: four vaults, with their passphrases, and the service's")
    say("   files. In a vault each text lies under a key of which the service has the other half:")
    copies = _copies(demo, "before")
    halves = {name: asyncio.run(_ask_halves(copies / name, demo.passphrases[name])) for name in NAMES}
    sealed = asyncio.run(_sealed_entries(copies / NAMES[0], demo.passphrases[NAMES[0]]))
    for name in NAMES:
        alone = _readable(demo, messages, copies, name, [])
        both = _readable(demo, messages, copies, name, halves[name])
        say(
            f"     vault of {name:<8} by itself: {alone} of {len(messages)} texts; with the service's halves: {both}"
        )
        if both < len(messages):
            raise UserError(_TOO_SLOW.format(life=demo.life))
    needles = {trace for text in messages for trace in traces(text)}
    readable = _count(messages, found(needles, files_below(copies / "server")))
    there = len(sealed & examined(copies / "server", copies / "server"))
    say(
        f"     files of the service: {readable} texts readable; under its storage keys, {there} of {len(sealed)} "
        "sealed entries open as they were sent"
    )
    if there < len(messages):
        raise UserError(_TOO_SLOW.format(life=demo.life))
    return sealed


async def _ask_halves(image: Path, passphrase: str) -> list[bytes]:
    """What the service gives to who has a copy of a device: its halves of the keys of all that is stored there."""
    ends = sorted({text.end for text in stored_texts(image, passphrase)})
    row = _row(image, passphrase)
    halves = []
    async with Api(row.url, row.token) as api:
        for end in ends:
            with suppress(Refused):
                halves += (await api.halves(row.id, wire.AskHalves(first=end, step=10, number=1))).halves
    return halves


def _row(image: Path, passphrase: str) -> Row:
    with examining(image, passphrase) as vault:
        row = ChannelStore(vault, ChannelStore.all(vault)[0]).row()
    if row is None:
        raise UserError("the vault's copy has no channel")
    return row


async def _sealed_entries(image: Path, passphrase: str) -> set[bytes]:
    """SHA-256 of every sealed message as the service hands it out to a device of the channel."""
    row = _row(image, passphrase)
    digests: set[bytes] = set()
    async with Api(row.url, row.token) as api:
        after = 0
        while (page := await api.entries(row.id, after)).entries:
            after = page.entries[-1].seq
            # What lives longer than a message is the procedure's: it stays for as long as a place does.
            messages = [entry.sealed for entry in page.entries if entry.expires_at - entry.received_at <= _LONGEST]
            digests |= {hashlib.sha256(sealed).digest() for sealed in messages}
    return digests


def _count(messages: list[str], seen: set[bytes]) -> int:
    return sum(1 for text in messages if any(trace in seen for trace in traces(text)))


def _let_expire(demo: Demo, last: float) -> None:
    # A half is destroyed at the first full ten seconds after the last text that needs it.
    left = max(0.0, last + demo.life + SHORT_STEP + 2.5 - time.time())
    demo.say(f"8. Nobody deletes anything. We wait {left:.0f} seconds, until the last message's life is over.")
    time.sleep(left)


def _look_after(demo: Demo, messages: list[str], sealed: set[bytes]) -> bool:
    say = demo.say
    say(
        "9. Afterwards everything is examined again, whatever any clock says. First the copies from before the end,"
    )
    say("   with all halves that the service would give to their devices, and all that its files still hold:")
    before, after = demo.root / "copied-before", _copies(demo, "after")
    clean = True
    left = possible_halves(after / "server" / "outside-backups")
    for when, copies in (("before", before), ("now", after)):
        if when == "now":
            say("   Then the devices and the service as they are now, every byte and every page:")
        for name in NAMES:
            halves = asyncio.run(_ask_halves(copies / name, demo.passphrases[name]))
            count = _readable(demo, messages, copies, name, chain(halves, left))
            say(
                f"     vault of {name:<8} copied {when}, opened with its passphrase: {count} of {len(messages)} texts"
            )
            clean = clean and count == 0
    needles = {trace for text in messages for trace in traces(text)}
    readable = _count(messages, found(needles, files_below(after / "server")))
    say(f"     files of the service: {readable} texts readable")
    opening = still_opening(sealed, {"before": before / "server", "now": after / "server"}, after / "server", say)
    clean = clean and readable == opening == 0
    say("   Nothing of what was said is left." if clean else "   SOMETHING IS LEFT: a defect, please report it.")
    return clean


def still_opening(sealed: set[bytes], copies: dict[str, Path], now: Path, say: Say) -> int:
    """How many of these entries (SHA-256) open in copies of the service's database with keys that it has `now`."""
    opened = {when: len(sealed & examined(data, now)) for when, data in copies.items()}
    for when, count in opened.items():
        say(
            f"     its database copied {when}, under every storage key that it still has: {count} of {len(sealed)} "
            "sealed entries open"
        )
    return sum(opened.values())


def _keep(demo: Demo) -> None:
    passphrases = "".join(f"{name}: {demo.passphrases[name]}\n" for name in NAMES)
    (demo.root / "passphrases.txt").write_text(passphrases)
    demo.say(
        f"Kept in {demo.root}: the service's files (server), the vaults, copies of both from before the end and after,"
    )
    demo.say("cards, invitations and passphrases.")
    demo.say("What was published is communique.note, with the parties' press keys beside it (*.key).")
