"""Every column of a vault that holds bytes or words: what the examiner does with it, or why there is nothing to do.

A table of the schema that is not named here fails a test (`tests/clients/test_examined_columns.py`), so that nothing
new escapes the examiner: each column is tried as a key, searched as ciphertext, or has a reason. Reasons say why no
text that expires can be in it, or which text is, and why.
"""

from typing import Final

KEY: Final = "key"  # whole, and each 32 bytes anywhere in it, is tried on every stored ciphertext
SEALED: Final = "sealed"  # ciphertext on which every key is tried
BOTH: Final = (KEY, SEALED)

_NAME: Final = "a random number or a hash by which something is named; tried as a key all the same, by its size"
_PUBLIC: Final = "public keys and names of members: every member has them for as long as the channel"
_WORD: Final = "one of a few words that the program chose"
_PLACE: Final = "an address"

# By table, then column. A plain string is the reason.
COLUMNS: Final[dict[str, dict[str, str | tuple[str, ...]]]] = {
    "card": {"name": "the person's own name, as on their card", "secret": KEY},
    "channel": {
        "id": _NAME,
        "url": _PLACE,
        "state": _WORD,
        "trouble": "one of a few sentences that the program chose",
        "charter": "what was agreed: it lives as long as the channel, and every member has it",
        "token": KEY,
        "device": _NAME,
        "credential": _NAME,
        "incarnation": _NAME,
        "complaint": SEALED,
    },
    "vault_half": {"channel": _NAME, "half": KEY},
    "chain": {"channel": _NAME, "hash": _NAME},
    "record": {"channel": _NAME, "key": _WORD, "value": KEY},
    "draft": {"channel": _NAME, "kind": _WORD, "content": SEALED},
    "outbox": {
        "channel": _NAME,
        "entry": _NAME,
        "kind": _WORD,
        "append": SEALED,
        "envelope": SEALED,
        "delete_secret": KEY,
        "consent": "procedure: what a commit does",
    },
    "message": {
        "channel": _NAME,
        "sender": _NAME,
        "id": _NAME,
        "text": SEALED,
        "kind": _WORD,
    },
    "own_rule": {"channel": _NAME},
    "sent": {"channel": _NAME, "entry": _NAME, "secret": KEY},
    "member": {
        "channel": _NAME,
        "credential": _NAME,
        "device": _NAME,
        "name": _PUBLIC,
        "public": _PUBLIC,
        "fingerprint": _PUBLIC,
        "keys": _PUBLIC,
    },
    "consent": {"channel": _NAME, "state": KEY},
    "meeting": {"channel": _NAME, "credential": _NAME, "pair": KEY, "run": KEY, "queue": KEY},
    "opening": {"channel": _NAME, "seat": _NAME},
    "complaint": {"channel": _NAME, "key": KEY},
    "words": {"channel": _NAME, "digest": _NAME, "paper": _NAME, "sealed": SEALED},
    "remark": {"channel": _NAME, "digest": _NAME, "sender": _NAME, "sealed": SEALED},
    "note": {"channel": _NAME, "digest": _NAME, "sealed": SEALED},
    "signing": {
        "channel": _NAME,
        "own": KEY,
        "state": KEY,
        "masks": KEY,
        "heard": KEY,
        "handle": KEY,
        "bundle": SEALED,
    },
    "lock": {"channel": _NAME, "sender": _NAME, "nonce": KEY, "share": KEY},
    # Its one-time keys open what lies in its box: a charter, which is no text that expires.
    "invitation": {"box": _NAME, "channel": _NAME, "step": _WORD, "state": KEY},
    "release_key": {"public": _PUBLIC, "name": "of a party's own key, which belongs to no channel", "seed": KEY},
    "line": {"proxy": _PLACE},
    "room": {"attachment": _NAME, "channel": _NAME, "token": KEY, "secret": KEY},
    "spool": {"file": "the name of a file with sealed chunks: random", "channel": _NAME},
    "relayed": {
        "channel": _NAME,
        "part": KEY,
        "private": KEY,
        "crossing": KEY,
        "sid": KEY,
        "trouble": "one of a few sentences that the program chose",
        "own": KEY,
        "state": KEY,
        "masks": KEY,
        "heard": KEY,
        "handle": KEY,
        "bundle": SEALED,
    },
    "passage": {"channel": _NAME, "leg": _WORD, "sealed": SEALED},
    "one_text": {"channel": _NAME, "paper": _NAME, "release": _NAME, "lines": "numbers of lines"},
    "sounding": {"channel": _NAME, "state": KEY, "own": KEY, "secret": KEY, "tally": KEY, "value": KEY},
    "sounding_text": {"channel": _NAME, "id": _NAME, "sealed": SEALED},
    "inquiry": {
        "handle": KEY,
        "url": _PLACE,
        "tally": KEY,
        "rules": "a charter without names: it lives as long as the inquiry",
        "names": SEALED,
        "secret": KEY,
    },
    "idea_round": {
        "channel": _NAME,
        "id": _NAME,
        "own": KEY,
        "key": KEY,
        "token": KEY,
        "secret": KEY,
        "setting": KEY,
        "handle": _NAME,
        "held": KEY,
    },
    "idea_packet": {"channel": _NAME, "round": _NAME, "sealed": SEALED},
    "idea_received": {"channel": _NAME, "round": _NAME, "sealed": SEALED},
    "idea_text": {"channel": _NAME, "kind": _WORD, "round": _NAME, "text": SEALED},
    "idea_list": {"channel": _NAME, "round": _NAME},
    "patience": {"channel": _NAME},
    "seed": {"channel": _NAME, "seed": SEALED},
}


def columns(role: str) -> list[tuple[str, str]]:
    """Tables and columns with a role, in the schema's names."""
    return [
        (table, column)
        for table, parts in COLUMNS.items()
        for column, part in parts.items()
        if part == role or (isinstance(part, tuple) and role in part)
    ]
