"""A completed note sealed to the card of its one reader."""

from dataclasses import replace

import pytest

from pourparler_crypto import jr2, note
from pourparler_crypto.card import CardKey
from pourparler_crypto.errors import CryptoError, Malformed, NotAuthentic, UsageError
from pourparler_crypto.jr2.testing import TERMS, Party, release
from pourparler_crypto.note import Audience, Communique, Foot, Note, PressKey, Signatory, open_brief, seal_brief
from pourparler_crypto.note.brief import SIZES
from pourparler_crypto.releasekey import ReleaseKey

READER, OTHER = CardKey.generate(), CardKey.generate()
CARD = READER.card("Heron")


def signed(card: bytes = CARD.fingerprint, words: str = "The wells stay open.") -> Note:
    keys = [ReleaseKey.generate() for _ in range(2)]
    signatories = tuple(
        Signatory(f"Side {i}", PressKey(f"side{i}.example", key.public)) for i, key in enumerate(keys, 1)
    )
    foot = Foot(bytes(range(16)), signatories, ("en",), TERMS.not_before, Audience.CARD, card)
    text = Communique((words,), foot)
    about = jr2.Round(bytes(32), (text.text,), text.keys, TERMS, private=True)
    note.check_round(about, [text])
    everyone = [Party(about, key) for key in keys]
    with pytest.raises(CryptoError):  # the desk has every d and every rho, and opens nothing
        release(everyone)
    shares = [party.sent[-1] for party in everyone]
    return note.assemble(everyone[0].finish(shares))[0]


def test_its_reader_opens_it_and_it_verifies_offline() -> None:
    made = signed()
    opened = open_brief(seal_brief(made, CARD) + "\n", READER, "Heron")
    assert opened == made
    assert len(note.verify(opened.encode()).signatures) == 2


def test_nobody_else_opens_it_and_nothing_altered_is_taken() -> None:
    sealed = seal_brief(signed(), CARD)
    with pytest.raises(NotAuthentic):
        open_brief(sealed, OTHER, "Heron")
    with pytest.raises(NotAuthentic):
        open_brief(sealed, READER, "another name")
    for place in range(len("pourparler-brief:"), len(sealed), len(sealed) // 40):
        altered = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        with pytest.raises(CryptoError):
            open_brief(altered, READER, "Heron")
    for wrong in ("", "pourparler-card:abc", sealed[:-7], sealed + "*", "pourparler-brief:" + "A" * 2**20):
        with pytest.raises(CryptoError):
            open_brief(wrong, READER, "Heron")


def test_it_is_sealed_to_the_card_that_the_text_names_and_no_other() -> None:
    with pytest.raises(UsageError):
        seal_brief(signed(), OTHER.card("Crane"))
    made = signed()
    board = Communique(made.communique.words, replace(made.communique.foot, audience=Audience.BOARD, card=b""))
    with pytest.raises(UsageError):
        seal_brief(replace(made, communique=board), CARD)
    with pytest.raises(NotAuthentic):
        seal_brief(replace(made, signatures=made.signatures[::-1]), CARD)


def test_what_was_made_for_another_reader_and_is_sealed_anew_is_refused() -> None:
    """One reader passes the text on to a second one as if it had been written to them."""
    from pourparler_crypto.encoding import lp, pad

    elsewhere = signed(OTHER.card("Crane").fingerprint)
    sealed = CARD.seal(lp("pourparler/brief/v1", CARD.fingerprint), pad(elsewhere.encode(), SIZES[0]))
    import base64

    line = "pourparler-brief:" + base64.urlsafe_b64encode(sealed).decode().rstrip("=")
    with pytest.raises(NotAuthentic, match="not made for the owner"):
        open_brief(line, READER, "Heron")


def test_its_length_shows_a_size_class() -> None:
    short, longer = (seal_brief(signed(words=words), CARD) for words in ("Yes.", "Yes. " * 300))
    assert len(short) == len(longer)


def test_a_sealed_text_that_is_none_gets_one_sentence() -> None:
    with pytest.raises(Malformed, match="not a sealed text"):
        open_brief("hello", READER, "Heron")
