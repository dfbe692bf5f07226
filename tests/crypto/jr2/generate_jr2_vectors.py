"""Writes `jr2_vectors.json`: whole releases from fixed randomness, and messages that are refused.

    python tests/crypto/jr2/generate_jr2_vectors.py [FILE]

All randomness is SHAKE-256 over a name, read from the front, in the order that `steps.py` documents: each
party has a stream of its own. Whoever implements JR2 anew can regenerate every byte from the inputs;
`test_jr2_vectors.py` does it with these functions, and once more with integer arithmetic that shares no code
with them.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from pourparler_crypto import jr2
from pourparler_crypto.jr2 import Kind
from pourparler_crypto.jr2.testing import TERMS, Desk, Party, desk_of
from pourparler_crypto.jr2.wire import HEADER
from pourparler_crypto.note import Communique, assemble
from pourparler_crypto.note.testing import a_communique, a_foot, copies
from pourparler_crypto.releasekey import ReleaseKey

FILE = Path(__file__).parent / "jr2_vectors.json"


class Stream:
    """Random bytes that are none."""

    def __init__(self, name: str) -> None:
        self.name, self.taken = name, 0

    def __call__(self, count: int) -> bytes:
        self.taken += count
        return hashlib.shake_256(self.name.encode()).digest(self.taken)[-count:]


def keys_of(name: str, count: int) -> list[ReleaseKey]:
    return [ReleaseKey.generate(Stream(f"{name} key {number}")) for number in range(1, count + 1)]


def round_of(name: str, texts: list[Communique]) -> jr2.Round:
    return jr2.Round(Stream(f"{name} nonce")(32), tuple(text.text for text in texts), texts[0].keys, TERMS)


def play(everyone: list[Party]) -> tuple[dict[str, Any], Desk]:
    """All messages of all signers, in their order; those without a key come last."""
    begun = [party.begin() for party in everyone]
    further = [message for party, message in zip(everyone, begun, strict=True) if party.key is None]
    first = begun[: len(begun) - len(further)]
    second = [party.receive(first, further) or b"" for party in everyone]
    third = [party.receive(second) or b"" for party in everyone]
    for party in everyone:
        party.receive(third)
    desk = desk_of(everyone[0])
    fourth = [party.sign() for party in everyone]
    for message in fourth:
        desk.take_mask(message)
    opened = desk.masks()
    assert opened
    fifth = [party.receive(opened) or b"" for party in everyone]
    for message in fifth:
        desk.take_share(message)
    rounds = (begun, second, third, fourth, fifth)
    return {"messages": {kind.name.lower(): hexes(said) for kind, said in zip(Kind, rounds, strict=True)}}, desk


def hexes(values: list[bytes]) -> list[str]:
    return [value.hex() for value in values]


def release_vector(name: str, texts: list[Communique], keys: list[ReleaseKey], further: int = 0) -> dict[str, Any]:
    about = round_of(name, texts)
    everyone = [Party(about, key, Stream(f"{name} party {number}")) for number, key in enumerate(keys, 1)]
    numbers = range(len(keys) + 1, len(keys) + further + 1)
    everyone += [Party(about, None, Stream(f"{name} party {number}")) for number in numbers]
    played, desk = play(everyone)
    done = desk.publish()
    return {
        "name": name,
        "nonce": about.nonce.hex(),
        "terms": [TERMS.sign_by, TERMS.deposit_by, TERMS.not_before, TERMS.stop_before],
        "seeds": hexes([key.seed for key in keys]),
        "keys": hexes(list(about.keys)),
        "texts": [text.text.decode() for text in texts],
        "sid": about.sid.hex(),
        **played,
        "handle": desk.case.handle.hex(),
        "digits": desk.case.digits,
        "bundle": {"length": len(desk.bundle), "sha512": hashlib.sha512(desk.bundle).hexdigest()},
        "signatures": [hexes(list(one.signatures)) for one in done],
        "notes": [note.encode().decode() for note in assemble(done)],
    }


def refusals() -> list[dict[str, Any]]:
    """One altered message each, as the second of two parties' at a step; what the first one answers."""
    keys = keys_of("refusals", 2)
    texts = [a_communique(keys)]
    about = round_of("refusals", texts)
    everyone = [Party(about, key, Stream(f"refusals party {number}")) for number, key in enumerate(keys, 1)]
    played, _ = play(everyone)
    result = []
    for kind in Kind:
        own, good = (bytes.fromhex(message) for message in played["messages"][kind.name.lower()])
        altered = {
            "cut short": good[:-1],
            "a byte more": good + b"\0",
            "another kind": bytes((kind % 5 + 1,)) + good[1:],
            "a party that there is not": good[:1] + b"\x03" + good[2:],
            "of another round": good[:2] + bytes(16) + good[HEADER:],
            "body of zeros": good[:HEADER] + bytes(len(good) - HEADER),
            "body of ones": good[:HEADER] + b"\xff" * (len(good) - HEADER),
            "the other's body": good[:HEADER] + own[HEADER:],
            "in the first party's name": good[:1] + b"\x01" + good[2:],
        }
        for what, message in altered.items():
            if kind == Kind.COMMITMENT and what.startswith("body of"):
                continue  # any 64 bytes are a commitment; what is wrong shows in the next step
            result.append(
                {
                    "step": kind.name.lower(),
                    "what": what,
                    "message": message.hex(),
                    "error": outcome(kind, own, message),
                }
            )
    return [{"round": "refusals"}, *result]


def outcome(kind: Kind, own: bytes, message: bytes) -> str:
    """The name of the error with which the first party, restored to just before this step, answers."""
    keys = keys_of("refusals", 2)
    about = round_of("refusals", [a_communique(keys)])
    everyone = [Party(about, key, Stream(f"refusals party {number}")) for number, key in enumerate(keys, 1)]
    messages = [party.begin() for party in everyone]
    for step in Kind:
        if step == kind:
            assert messages[0] == own
            try:
                everyone[0].finish([messages[0], message]) if step == Kind.SHARE else everyone[0].receive(
                    [message]
                )
            except Exception as error:
                return type(error).__name__
            return "none"
        answers = [party.receive(messages) for party in everyone]
        messages = (
            [party.sign() for party in everyone] if step == Kind.PRESIGNATURE else [a or b"" for a in answers]
        )
    raise AssertionError("unreachable")


def vectors() -> dict[str, Any]:
    two, three = keys_of("two parties", 2), keys_of("three copies", 3)
    delegates, languages = keys_of("further signers", 2), keys_of("two languages", 3)
    bilingual = Communique(("The parties have met.", "طرف‌ها دیدار کردند."), a_foot(languages, ("en", "fa")))
    return {
        "about": "JR2 of Pourparler, docs/joint-release.md. Hexadecimal; parties in the order of the keys.",
        "randomness": "SHAKE-256 of '<name> party <i>' read from the front: R1 64 bytes for each y, 32 for rho; "
        "R3 for each text 64 for d, then 64 for each r. "
        "Further signers follow the parties in number; they have no key, draw no r, and their hedge is over nothing.",
        "releases": [
            release_vector("two parties", [a_communique(two)], two),
            release_vector("two languages", [bilingual], languages),
            release_vector("three copies", copies(three), three),
            release_vector("further signers", copies(delegates), delegates, further=2),
        ],
        "refusals": refusals()[1:],
    }


def encoded() -> str:
    return json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    target.write_text(encoded(), encoding="utf-8")
