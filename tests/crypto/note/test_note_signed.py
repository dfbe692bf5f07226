"""Notes: strict to read, valid for any C2SP reader; verified offline, named by the reader's book alone."""

import base64
import hashlib
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_crypto import note
from pourparler_crypto.errors import Malformed, NotAuthentic, UsageError
from pourparler_crypto.note import KeyBook, Note, PressKey, Refusal, Refused, ReleaseKey
from pourparler_crypto.note.testing import a_communique, a_note, released


def c2sp_reader(data: bytes, known: dict[tuple[str, bytes], bytes]) -> tuple[bytes, int]:
    """A lenient reader written from C2SP signed-note alone: the text, and how many known keys have signed it."""
    text, _, lines = data.decode().rpartition("\n\n")
    signed = (text + "\n").encode()
    good = 0
    for line in lines.splitlines():
        dash, name, encoded = line.split(" ")
        assert dash == "\u2014"
        body = base64.b64decode(encoded)
        public = known.get((name, body[:4]))
        if public is not None:
            note.signed.verify(public, signed, body[4:])  # type: ignore[attr-defined]
            good += 1
    return signed, good


def test_any_reader_of_c2sp_notes_reads_it() -> None:
    keys, made = a_note()
    known = {}
    for i, key in enumerate(keys, 1):
        name = f"party-{i}.example/press"
        known[name, hashlib.sha256(name.encode() + b"\n\x01" + key.public).digest()[:4]] = key.public
    text, good = c2sp_reader(made.encode(), known)
    assert text == made.communique.text
    assert good == 3


def test_a_note_is_read_back_to_the_byte() -> None:
    _, made = a_note()
    assert Note.parse(made.encode()) == made
    assert len(made.encode()) <= note.MAX_NOTE


def broken(data: bytes) -> Refusal:
    with pytest.raises(Refused) as caught:
        Note.parse(data)
    return caught.value.refusal


def test_signature_lines_are_refused_for_each_reason() -> None:
    _, made = a_note()
    text, lines = made.communique.text, made.encode()[len(made.communique.text) + 1 :].splitlines(keepends=True)
    _, other = a_note(2)
    foreign = other.encode().splitlines(keepends=True)[-1].replace(b"party-2", b"party-9")
    whole = made.encode()
    assert broken(text) is Refusal.NO_SIGNATURES
    assert broken(b"words\n") is Refusal.NO_SIGNATURES
    assert broken(text + b"\n") is Refusal.NO_SIGNATURES
    assert broken(whole[:-1]) is Refusal.NO_FINAL_NEWLINE
    assert broken(b"".join([text, b"\n", *lines[:2]])) is Refusal.MISSING_SIGNATURE
    assert broken(b"".join([text, b"\n", lines[1], lines[0], lines[2]])) is Refusal.ORDER
    assert broken(b"".join([text, b"\n", lines[0], *lines])) is Refusal.DUPLICATE
    assert broken(b"".join([text, b"\n", *lines, foreign])) is Refusal.UNKNOWN_KEY
    assert broken(whole + b"thank you\n") is Refusal.JUNK_LINE
    assert broken(b"".join([text, b"\nthank you\n", *lines])) is Refusal.JUNK_LINE
    assert broken(whole + b"\n") is Refusal.NO_SIGNATURES
    assert broken(whole.replace("\u2014 party-2".encode(), b"- party-2")) is Refusal.JUNK_LINE
    assert broken(whole.replace(lines[1], lines[1][:-2] + b"\n")) is Refusal.JUNK_LINE
    assert broken(whole.replace(lines[1], lines[1][:-4] + b"===\n")) is Refusal.JUNK_LINE
    assert broken(whole.replace(lines[1], lines[1][:-1] + b" more\n")) is Refusal.JUNK_LINE
    assert broken(whole.replace(lines[1], "\u2014 \n".encode())) is Refusal.JUNK_LINE
    for size in (67, 69):  # as many characters, another number of bytes
        body = base64.b64encode((base64.b64decode(lines[1].split(b" ")[2]) + b"x")[:size])
        line = b" ".join([*lines[1].split(b" ")[:2], body + b"\n"])
        assert len(line) == len(lines[1])
        assert broken(whole.replace(lines[1], line)) is Refusal.JUNK_LINE
    assert broken(whole + b"\r\n") is Refusal.CONTROL
    assert broken(b"x" * (note.MAX_NOTE + 1)) is Refusal.TOO_LARGE
    assert broken(b"words\n\n" + b"".join(lines)) is Refusal.NO_FOOT


def test_base64_has_one_form_only() -> None:
    _, made = a_note()
    data = made.encode()
    assert data.endswith(b"=\n")
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet.index(data[-3])
    assert last % 4 == 0
    assert base64.b64decode(data[-93:-1]) == base64.b64decode(data[-93:-3] + bytes((alphabet[last + 1],)) + b"=")
    assert broken(data[:-3] + bytes((alphabet[last + 1],)) + b"=\n") is Refusal.JUNK_LINE


def test_a_changed_word_or_signature_does_not_verify() -> None:
    _, made = a_note()
    data = made.encode()
    with pytest.raises(NotAuthentic, match=r"party-1\.example/press does not verify"):
        note.verify(data.replace(b"have met", b"had met"))
    altered = (made.signatures[0], bytes(64), made.signatures[2])
    with pytest.raises(NotAuthentic, match=r"party-2\.example/press does not verify"):
        Note(made.communique, altered).check()
    with pytest.raises(Refused):
        Note(made.communique, made.signatures[:2])
    with pytest.raises(UsageError):
        Note(made.communique, (*made.signatures[:2], b""))


SIGNED = a_note(2)[1].encode()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SIGNED) - 1), st.integers(0, 3), st.binary(max_size=3))
def test_an_altered_note_is_refused_or_does_not_verify(position: int, removed: int, inserted: bytes) -> None:
    data = SIGNED[:position] + inserted + SIGNED[position + removed :]
    if data == SIGNED:
        return
    with pytest.raises((Refused, NotAuthentic)):
        note.verify(data)


def test_a_completed_release_of_other_keys_than_the_text_names_makes_no_note() -> None:
    keys = [ReleaseKey.generate() for _ in range(3)]
    strangers = [ReleaseKey.generate() for _ in range(3)]
    text = a_communique(strangers)
    with pytest.raises((Refused, UsageError)):
        released(keys, [text])


# Verifying


def test_a_party_is_named_only_when_its_key_stands_in_the_readers_book() -> None:
    _, made = a_note(2)
    first, second = (party.key for party in made.communique.foot.signatories)
    book = KeyBook.parse(f"# my list\n\n{first} The Assembly\n".encode())
    signed = list(note.verify(made.encode(), book))
    assert [one.owner for one in signed] == ["The Assembly", None]
    assert (
        signed[0].sentence
        == f"signed by key {first.digits} (party-1.example/press): The Assembly, by your key book"
    )
    assert signed[1].sentence == (
        f"signed by key {second.digits} (party-2.example/press): not in your key book, "
        "the text calls it “Southern League”"
    )
    assert not note.verify(made.encode(), book).all_known
    both = KeyBook.parse(f"{first} A\n{second} B\n".encode())
    assert note.verify(made.encode(), both).all_known
    assert len(both) == 2


def test_a_key_that_borrows_a_known_name_is_pointed_out() -> None:
    _, made = a_note(2)
    known = PressKey("party-1.example/press", ReleaseKey.generate().public)
    signed = note.verify(made.encode(), KeyBook.parse(f"{known} The Assembly\n".encode())).signatures
    assert [one.suspect for one in signed] == [True, False]
    assert "NOT the key" in signed[0].sentence
    assert "Assembly" not in signed[0].sentence


def test_an_owner_of_several_of_the_keys_is_pointed_out() -> None:
    _, made = a_note(3)
    keys = [party.key for party in made.communique.foot.signatories]
    book = KeyBook.parse("".join(f"{key} {name}\n" for key, name in zip(keys, "ABA", strict=True)).encode())
    verified = note.verify(made.encode(), book)
    assert verified.all_known
    assert verified.doubled == ("A",)
    assert note.verify(made.encode()).doubled == ()


def test_a_book_with_a_fault_is_refused_with_its_line() -> None:
    key = PressKey("a.example", ReleaseKey.generate().public)
    other = PressKey("b.example", key.public)
    for bad in (
        f"{key} A\n{key} A\n",
        f"{key} A\n{other} B\n",
        f"\n{key}\n",
        f"#\n{str(key)[:-2]} A\n",
        "#\nname\n",
    ):
        with pytest.raises(Refused, match="Line 2") as caught:
            KeyBook.parse(bad.encode())
        assert caught.value.refusal is Refusal.KEY
    many = "".join(f"{PressKey('a', ReleaseKey.generate().public)} A\n" for _ in range(1001))
    with pytest.raises(Refused):
        KeyBook.parse(many.encode())
    assert len(KeyBook.parse(f"{key} A\n{PressKey('a.example', ReleaseKey.generate().public)} A\n".encode())) == 2


def test_verifying_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    _, made = a_note(2)
    monkeypatch.setattr(socket, "socket", refuse)
    note.verify(made.encode())


# Keys


def test_a_press_key_is_read_back_and_no_other_text_is() -> None:
    key = PressKey("mfa.example/press", ReleaseKey.generate().public)
    text = str(key)
    assert PressKey.parse(text) == key
    assert text.startswith(f"mfa.example/press+{key.key_id.hex()}+A")
    for wrong in (
        text[:-1],
        text + "=",
        text.upper(),
        text.replace("mfa", "mfb"),
        " " + text,
        text + "\n",
        "",
        "a+b+c",
    ):
        with pytest.raises(Refused) as caught:
            PressKey.parse(wrong)
        assert caught.value.refusal is Refusal.KEY
    assert len(key.digits) == 35


def test_names_that_look_alike_or_break_the_line_are_refused() -> None:
    public = ReleaseKey.generate().public
    for name in ("", "A.example", "mfа.example", "a b", "a+b", "-a", "a.", "a\u200bb", "a" * 101, "ä"):
        with pytest.raises(UsageError):
            PressKey(name, public)
    for name in ("a", "a" * 100, "x.example/press_2-b"):
        PressKey(name, public)
    for bad in (bytes(32), public[:-1], b"\xff" * 32):
        with pytest.raises(UsageError):
            PressKey("a", bad)


def test_the_key_id_is_that_of_the_specification() -> None:
    press = PressKey("example.org/x", ReleaseKey(bytes(32)).public)
    assert press.key_id == hashlib.sha256(b"example.org/x\x0a\x01" + press.public).digest()[:4]
    # The example key of the Go package's documentation, under a name that our rule would refuse.
    name, key_id, encoded = ["PeterNeumann", "c74f20a3", "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"]
    foreign = PressKey("peterneumann", base64.b64decode(encoded)[1:])
    object.__setattr__(foreign, "name", name)
    assert foreign.key_id.hex() == key_id
    assert str(foreign) == f"{name}+{key_id}+{encoded}"


def test_a_backup_opens_with_its_passphrase_and_with_no_other() -> None:
    key = ReleaseKey.generate()
    text = note.seal_backup(key, "mfa.example/press", "correct horse", passes=1, memory_kib=64)
    opened, press = note.open_backup(text, "correct horse")
    assert opened == key
    assert press == PressKey("mfa.example/press", key.public)
    assert note.open_backup(text[:50] + "\n  " + text[50:] + "\n", "correct horse")[0] == key
    with pytest.raises(NotAuthentic):
        note.open_backup(text, "wrong")
    assert key.seed not in text.encode()


def test_backups_have_one_length_and_altered_ones_are_refused() -> None:
    key = ReleaseKey.generate()
    lengths = {
        len(note.seal_backup(key, name, "x", passes=1, memory_kib=64))
        for name in ("a", "a" * note.presskey.MAX_KEY_NAME)  # type: ignore[attr-defined]
    }
    assert len(lengths) == 1
    text = note.seal_backup(key, "a", "x", passes=1, memory_kib=64)
    for wrong in (text[:-4], text + "AAAA", "x" + text, "", "x" * 5000):
        with pytest.raises(Malformed):
            note.open_backup(wrong, "x")
    head, _, body = text.partition(":")
    data = bytearray(base64.urlsafe_b64decode(body))
    for position in (12, 30, 60, len(data) - 1):
        altered = bytearray(data)
        altered[position] ^= 1
        with pytest.raises(NotAuthentic):
            note.open_backup(f"{head}:{base64.urlsafe_b64encode(altered).decode()}", "x")
    for position in (0, 4):
        greedy = bytearray(data)
        greedy[position] = 0x7F
        with pytest.raises(Malformed, match="more work"):
            note.open_backup(f"{head}:{base64.urlsafe_b64encode(greedy).decode()}", "x")


def test_a_backup_needs_a_passphrase_and_a_name() -> None:
    key = ReleaseKey.generate()
    with pytest.raises(UsageError):
        note.seal_backup(key, "a", "")
    with pytest.raises(UsageError):
        note.seal_backup(key, "No Name", "x")
    with pytest.raises(UsageError):
        ReleaseKey(b"short")
