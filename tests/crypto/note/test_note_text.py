"""What may be signed, and what is refused: a closed list, each with its sentence."""

import re
import sys
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime

import idna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_crypto import jr2, note
from pourparler_crypto.errors import Malformed
from pourparler_crypto.jr2.testing import TERMS
from pourparler_crypto.note import Communique, Foot, Refusal, Refused, ReleaseKey
from pourparler_crypto.note.communique import MAX_COPIES
from pourparler_crypto.note.instants import instant_text, read_instant
from pourparler_crypto.note.testing import WORDS, a_communique, a_foot, copies, released

KEYS = [ReleaseKey(bytes((i,)) * 32) for i in (1, 2, 3)]
GOOD = a_communique(KEYS).text
FOOT = b"pourparler-communique/v1\n"


def refusal(data: bytes) -> Refusal:
    with pytest.raises(Refused) as caught:
        Communique.parse(data)
    assert str(caught.value).endswith(caught.value.refusal.value)
    return caught.value.refusal


def with_words(words: str) -> bytes:
    return words.encode() + GOOD[GOOD.index(b"\n\n" + FOOT) :]


def test_a_text_is_read_back_to_the_byte() -> None:
    for text in (
        a_communique(KEYS),
        a_communique(KEYS, "a"),
        Communique(("one", "دو", "trois\n\nquatre"), a_foot(KEYS, ("en", "fa-IR", "fr"))),
        Communique(
            ("corrected",),
            replace(
                a_foot(KEYS, release_id=b"2" * 16),
                relation=note.Relation(note.Act.CORRECTS, bytes(16), a_communique(KEYS).digest),
                audience=note.Audience.CARD,
                card=b"f" * 32,
            ),
        ),
        *copies(KEYS),
    ):
        assert Communique.parse(text.text) == text


def test_the_text_looks_as_the_document_says() -> None:
    lines = GOOD.decode().split("\n")
    assert lines[:5] == ["The parties have met.", "", "They will meet again.", "", "pourparler-communique/v1"]
    assert [line.partition(":")[0] for line in lines[5:]] == [
        "release",
        "audience",
        "languages",
        "not-before",
        "signatory",
        "signatory",
        "signatory",
        "void unless all have signed",
        "",
    ]


BAD_WORDS = {
    "a\tb": Refusal.CONTROL,
    "a\rb": Refusal.CONTROL,
    "a\x00b": Refusal.CONTROL,
    "a\x85b": Refusal.CONTROL,
    "a\u202eb": Refusal.BIDI,
    "a\u2066b": Refusal.BIDI,
    "5\u200f-10": Refusal.BIDI,
    "a\U000e0041b": Refusal.TAG,
    "a\ue000b": Refusal.WITHOUT_READING,
    "a\u0378b": Refusal.WITHOUT_READING,
    "a\ufdd0b": Refusal.WITHOUT_READING,
    "a\u2028b": Refusal.WITHOUT_READING,
    "a\u00adb": Refusal.WITHOUT_READING,
    "a\u2060b": Refusal.WITHOUT_READING,
    "a\ufeffb": Refusal.WITHOUT_READING,
    "a\u3164b": Refusal.WITHOUT_READING,
    "a\u034fb": Refusal.WITHOUT_READING,
    "a\ufe0fb": Refusal.WITHOUT_READING,
    "a\u180bb": Refusal.WITHOUT_READING,
    "a\ufffdb": Refusal.WITHOUT_READING,
    "a\u200db": Refusal.JOINER,
    "a\u200cb": Refusal.JOINER,
    "\U0001f468\u200d\U0001f469": Refusal.JOINER,
    "a\u200bb": Refusal.ZERO_WIDTH_SPACE,
    "a\u200b\u200bb": Refusal.ZERO_WIDTH_SPACE,
    "ខ\u200b\u200bម": Refusal.ZERO_WIDTH_SPACE,
    "a\u2003b": Refusal.SPACE,
    "a \u00a0b": Refusal.SPACE,
    "a\u00a0": Refusal.SPACE,
    "e\u0301": Refusal.NOT_NFC,
    "a" * 17_000: Refusal.TOO_LARGE,
    "a\n" * 140_000 + "b": Refusal.TOO_LARGE,
    "\na": Refusal.BLANK_LINES,
    "a\n": Refusal.BLANK_LINES,
    " ": Refusal.NO_WORDS,
    "[en]\na": Refusal.SECTIONS,
    "void unless all have signed": Refusal.FOOT,
    "a\n Pourparler-Communique/v1 \nb": Refusal.FOOT,
    "\u2014 party-1.example/press " + "A" * 92: Refusal.SIGNATURE_IN_WORDS,
    "- somebody " + "A" * 91 + "=": Refusal.SIGNATURE_IN_WORDS,
}


@pytest.mark.parametrize("words", BAD_WORDS)
def test_words_that_are_refused(words: str) -> None:
    assert refusal(with_words(words)) is BAD_WORDS[words]
    with pytest.raises(Refused) as caught:
        a_communique(KEYS, words)
    assert caught.value.refusal is BAD_WORDS[words]


def test_a_refusal_names_the_line() -> None:
    with pytest.raises(Refused, match=r"^Line 3: ") as caught:
        Communique.parse(with_words("one\ntwo\nth\u202eree"))
    assert caught.value.line == 3


GOOD_WORDS = {
    "Persian": "نمی\u200cخواهیم که گفت\u200cوگوها",
    "Sinhala": "ශ්\u200dරී ලංකා",
    "Hindi": "क्\u200dष और क्\u200cष",
    "Khmer": "ភាសា\u200bខ្មែរ",
    "Thai": "ภาษา\u200bไทย",
    "French": "«\u00a0Oui\u202f!\u00a0» et 10\u202f000",
    "Arabic": "في عام \u06002026",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ\u202fᠤᠨ ᠠ\u180b",
    "Hebrew": "הצדדים ייפגשו שוב.",
    "Japanese": "第一条\u3000両者は合意する。",
    "Vietnamese": "Hai bên đã gặp nhau – “tốt”.",
    "emoji": "We agree \U0001f91d",
    "a dash": "— Oui, dit-il.",
}


@pytest.mark.parametrize("language", GOOD_WORDS)
def test_what_scripts_need_is_allowed(language: str) -> None:
    words = unicodedata.normalize("NFC", GOOD_WORDS[language])
    assert Communique.parse(a_communique(KEYS, words).text).words == (words,)


def test_joiners_follow_rfc_5892_wherever_they_stand_in_a_long_line() -> None:
    long = "سلام " * 300
    a_communique(KEYS, f"{long}می\u200cخواهیم {long}")
    with pytest.raises(Refused):
        a_communique(KEYS, f"{long}\u200cب {long}")
    assert idna.valid_contextj("می\u200cخواهیم", 2)


def test_no_character_that_shows_nothing_gets_through_between_two_letters() -> None:
    """All code points: what has no glyph by its category is refused, save those that scripts need."""
    let_through = set()
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) in {"Cn", "Co"} and code % 61:
            continue  # nearly a million of them: a sample
        if unicodedata.category(character) not in {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}:
            continue
        try:
            note.check_characters(f"a{character}b")
        except Refused:
            continue
        let_through.add(character)
    assert let_through - set("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2") == set(
        "\n \u00a0\u202f\u3000"
    )


BAD_TEXTS = {
    b"": Refusal.NO_FINAL_NEWLINE,
    GOOD[:-1]: Refusal.NO_FINAL_NEWLINE,
    GOOD + b"\n": Refusal.FOOT,
    b"\xff" + GOOD: Refusal.NOT_UTF8,
    GOOD.replace(b"parties", b"part\xedes"): Refusal.NOT_UTF8,
    b"only words\n": Refusal.NO_FOOT,
    GOOD[GOOD.index(FOOT) :]: Refusal.NO_WORDS,
    b"\n" + GOOD[GOOD.index(FOOT) :]: Refusal.NO_WORDS,
    GOOD.replace(b"\n\n" + FOOT, b"\n" + FOOT): Refusal.BLANK_LINES,
    GOOD.replace(b"v1\n", b"v2\n"): Refusal.NO_FOOT,
    GOOD.replace(b"audience: board\n", b""): Refusal.FOOT,
    GOOD.replace(b"audience: board", b"audience: press"): Refusal.FOOT,
    GOOD.replace(b"audience: board", b"copy: 1 of 1\naudience: board"): Refusal.FOOT,
    GOOD.replace(b"audience: board", b"copy: 1 of 02\naudience: board"): Refusal.FOOT,
    GOOD.replace(b"audience: board", b"copy: first\naudience: board"): Refusal.FOOT,
    GOOD.replace(b"audience: board", b"copy: 1 of 33\naudience: board"): Refusal.FOOT,
    GOOD.replace(b"audience: board", b"audience: card"): Refusal.FOOT,
    GOOD.replace(b"audience: board", b"audience: board " + b"0" * 64): Refusal.FOOT,
    GOOD.replace(b"audience: board\n", b"audience: board\naudience: board\n"): Refusal.FOOT,
    GOOD.replace(b"languages: en", b"languages: en, en"): Refusal.LANGUAGES,
    GOOD.replace(b"languages: en", b"languages: English"): Refusal.LANGUAGES,
    GOOD.replace(b"languages: en", b"languages: en, fa"): Refusal.SECTIONS,
    GOOD.replace(b"languages: en", b"languages:  en"): Refusal.LANGUAGES,
    GOOD.replace(b"Z\n", b"+00:00\n"): Refusal.FOOT,
    GOOD.replace(b"2027-01-18", b"2027-02-30"): Refusal.FOOT,
    GOOD.replace(b"release: 00", b"release: 0A"): Refusal.FOOT,
    GOOD.replace(b"release: 00", b"release: "): Refusal.FOOT,
    GOOD.replace(b"not-before", b"corrects: " + b"0" * 32 + b" " + b"0" * 64 + b"\nnot-before"): Refusal.FOOT,
    GOOD.replace(b"void unless all have signed", b"void unless most have signed"): Refusal.FOOT,
    GOOD.replace(b"void unless all have signed\n", b""): Refusal.FOOT,
    GOOD.replace(b"have signed\n", b"have signed\nor not\n"): Refusal.FOOT,
    GOOD.replace(b"have signed\n", b"have signed\nvoid unless all have signed\n"): Refusal.FOOT,
    GOOD.replace(b"party-2.example", b"party-3.example"): Refusal.KEY,
    GOOD.replace(b"Southern League", b"Northern Assembly"): Refusal.SIGNATORIES,
    GOOD.replace(b"Southern League", b" Southern League"): Refusal.SIGNATORIES,
    GOOD.replace(b" Southern League", b""): Refusal.SIGNATORIES,
    GOOD.replace(b"Southern League", b"S" * 201): Refusal.SIGNATORIES,
    GOOD.replace(b"Southern League", b"Southern\xe2\x80\xaeLeague"): Refusal.BIDI,
    re.sub(rb"signatory: party-[23].*\n", b"", GOOD): Refusal.SIGNATORIES,
    re.sub(rb"signatory: (party-[23])", rb"witness: \1", GOOD): Refusal.SIGNATORIES,
    re.sub(rb"signatory: (party-1)", rb"witness: \1", GOOD): Refusal.FOOT,
}


@pytest.mark.parametrize("number", range(len(BAD_TEXTS)))
def test_texts_that_are_refused(number: int) -> None:
    data, expected = list(BAD_TEXTS.items())[number]
    assert data != GOOD
    assert refusal(data) is expected


def test_the_list_of_refusals_is_closed_and_every_one_is_met_in_these_tests() -> None:
    here = set(BAD_WORDS.values()) | set(BAD_TEXTS.values())
    elsewhere = {
        Refusal.NO_SIGNATURES,
        Refusal.JUNK_LINE,
        Refusal.UNKNOWN_KEY,
        Refusal.DUPLICATE,
        Refusal.ORDER,
        Refusal.MISSING_SIGNATURE,
        Refusal.PARALLEL,
    }
    assert here | elsewhere == set(Refusal)
    assert not here & elsewhere
    sentences = [one.value for one in Refusal]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.endswith(".") for sentence in sentences)


def test_a_witness_signs_after_the_signatories() -> None:
    foot = a_foot(KEYS)
    witnessed = replace(
        foot, signatories=(*foot.signatories[:2], replace(foot.signatories[2], role=note.Role.WITNESS))
    )
    text = Communique((WORDS,), witnessed)
    assert b"\nwitness: party-3" in text.text
    assert Communique.parse(text.text) == text


def test_headings_part_the_languages_and_nothing_else() -> None:
    two = a_foot(KEYS, ("en", "fa"))
    text = Communique(("one\n\ntwo", "سه"), two).text
    assert text.startswith("[en]\none\n\ntwo\n\n[fa]\nسه\n\n".encode())
    for wrong in (
        text.replace(b"[en]", b"[fr]", 1),
        text.replace(b"[fa]\n", b""),
        text.replace(b"[en]\n", b"before\n[en]\n"),
        text.replace(b"\n\n[fa]", b"\n[fa]"),
        text.replace(b"languages: en, fa", b"languages: fa, en"),
    ):
        assert refusal(wrong) in {Refusal.SECTIONS}
    with pytest.raises(Refused):
        Communique(("one",), two)


def test_a_release_cannot_correct_itself() -> None:
    foot = a_foot(KEYS)
    with pytest.raises(Refused):
        Communique((WORDS,), replace(foot, relation=note.Relation(note.Act.WITHDRAWS, foot.release, bytes(32))))


def test_copies_that_do_not_belong_together_are_refused() -> None:
    texts = copies(KEYS)
    note.check_parallel(texts)
    other = copies([*KEYS[:2], ReleaseKey(b"4" * 32)])
    later = [Communique(c.words, replace(c.foot, not_before=c.foot.not_before + 1)) for c in texts]
    for wrong in ([], texts[:2], texts[::-1], [*texts[:2], other[2]], [*texts[:2], later[2]]):
        with pytest.raises(Refused) as caught:
            note.check_parallel(wrong)
        assert caught.value.refusal is Refusal.PARALLEL


def test_parallel_copies_are_released_together_each_in_its_own_order() -> None:
    texts = copies(KEYS)
    notes = released(KEYS, texts)
    assert [one.communique for one in notes] == texts
    for one in notes:
        assert note.verify(one.encode()).communique == one.communique


def test_copies_are_made_from_the_first_one_only_one_for_each_party_and_witnesses_stay_last() -> None:
    foot = a_foot(KEYS)
    one = Communique((WORDS,), foot)
    assert note.parallel(one) == (one,)
    witness = replace(foot.signatories[2], role=note.Role.WITNESS)
    first = Communique((WORDS,), replace(foot, copies=2, signatories=(*foot.signatories[:2], witness)))
    made = note.parallel(first)
    assert [[party.key for party in copy.foot.signatories] for copy in made] == [
        [foot.signatories[i].key for i in order] for order in ((0, 1, 2), (1, 0, 2))
    ]
    for wrong in (
        made[1],
        replace(first, foot=replace(first.foot, copies=3)),
        replace(one, foot=replace(foot, copies=2)),
    ):
        with pytest.raises(Refused) as caught:
            note.parallel(wrong)
        assert caught.value.refusal is Refusal.PARALLEL


def test_a_round_is_about_exactly_the_text_its_signatories_and_its_time() -> None:
    text = a_communique(KEYS)
    about = jr2.Round(bytes(32), (text.text,), text.keys, TERMS)
    note.check_round(about, [text])
    later = replace(TERMS, not_before=TERMS.not_before + 1)
    for wrong in (
        replace(about, texts=(text.text + b" ",)),
        replace(about, keys=text.keys[::-1]),
        replace(about, keys=text.keys[:2]),
        replace(about, keys=(*text.keys, ReleaseKey(b"4" * 32).public)),
        replace(about, terms=later),
    ):
        with pytest.raises(Refused):
            note.check_round(wrong, [text])


def test_times_are_those_of_the_calendar() -> None:
    for instant in (0, 1, 951_782_399, 951_782_400, 1_800_000_000, 4_107_542_399, 253_402_300_799):
        text = datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert instant_text(instant) == text
        assert read_instant(text) == instant
    for wrong in (
        "2027-02-29T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2027-13-01T00:00:00Z",
        "2027-01-01T24:00:00Z",
        "2027-01-01T00:00:60Z",
        "2027-01-01 00:00:00Z",
        "٢٠٢٧-01-01T00:00:00Z",
    ):
        with pytest.raises(Malformed):
            read_instant(wrong)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_words_are_read_back_the_same_or_refused(words: str) -> None:
    try:
        text = a_communique(KEYS, words)
    except Refused:
        return
    assert Communique.parse(text.text).words == (words,)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=0, max_size=3))
def test_an_altered_text_is_another_text_or_refused(position: int, inserted: bytes) -> None:
    data = GOOD[:position] + inserted + GOOD[position + 1 :]
    try:
        assert Communique.parse(data).text == data
    except Refused:
        return


def test_a_text_has_as_many_signatories_and_languages_as_are_allowed_and_not_one_more() -> None:
    keys = [ReleaseKey(bytes((i,)) * 32) for i in range(1, note.MAX_SIGNATORIES + 2)]
    tongues = tuple(f"a{chr(97 + i)}" for i in range(note.MAX_LANGUAGES + 1))
    Communique((WORDS,), a_foot(keys[:-1]))
    Communique((WORDS,) * note.MAX_LANGUAGES, a_foot(KEYS, tongues[:-1]))
    with pytest.raises(Refused) as caught:
        Communique((WORDS,), a_foot(keys))
    assert caught.value.refusal is Refusal.SIGNATORIES
    with pytest.raises(Refused) as caught:
        Communique((WORDS,) * len(tongues), a_foot(KEYS, tongues))
    assert caught.value.refusal is Refusal.LANGUAGES


@pytest.mark.parametrize("audience", [note.Audience.PARTIES, note.Audience.CARD])
def test_a_round_about_a_text_that_is_not_for_the_board_keeps_it_from_the_desk(audience: note.Audience) -> None:
    """Else the desk could read a memorandum of the parties once all have deposited."""
    card = bytes(32) if audience is note.Audience.CARD else b""
    text = Communique((WORDS,), replace(a_foot(KEYS), audience=audience, card=card))
    about = jr2.Round(bytes(32), (text.text,), text.keys, TERMS, private=True)
    note.check_round(about, [text])
    for wrong in (replace(about, private=False), replace(about, texts=(GOOD,), keys=text.keys)):
        with pytest.raises(Refused):
            note.check_round(wrong, [text if wrong.texts == about.texts else a_communique(KEYS)])


def test_a_foot_with_impossible_values_is_refused() -> None:
    foot = a_foot(KEYS)
    for wrong in (
        replace(foot, release=b"short"),
        replace(foot, not_before=-1),
        replace(foot, copies=0),
        replace(foot, copies=MAX_COPIES + 1),
        replace(foot, relation=note.Relation(note.Act.CORRECTS, b"short", bytes(32))),
        replace(foot, relation=note.Relation(note.Act.CORRECTS, b"2" * 16, b"short")),
        replace(foot, signatories=(replace(foot.signatories[0], name="A\nB"), *foot.signatories[1:])),
        replace(foot, copy=3, copies=2),
        replace(foot, languages=()),
        replace(foot, card=bytes(32)),
    ):
        assert isinstance(wrong, Foot)
        with pytest.raises(Refused):
            Communique((WORDS,), wrong)
