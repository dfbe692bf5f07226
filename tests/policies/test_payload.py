"""What members say to each other: parsed with limits; void when malformed, a halt when unknown."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pourparler_policies import payload
from pourparler_policies.errors import Misuse, Unknown, Void
from pourparler_policies.fold.decoding import MAX_EVENT
from pourparler_policies.fold.encoding import encode as encode_act
from pourparler_policies.fold.events import Approved, Ground, Leaving, Proposed
from pourparler_policies.fold.facts import Recess
from pourparler_policies.limits import BUCKETS, MAX_LIFE
from pourparler_policies.payload import (
    CARD_PUBLIC,
    MAX_ENVELOPE,
    MAX_EVENTS,
    MAX_NAME,
    MAX_STEP,
    MAX_TEXT,
    Act,
    Attached,
    Attesting,
    Beside,
    Envelope,
    Event,
    Said,
    Seated,
    Shortened,
    Shuttle,
    Sounding,
    check_name,
    check_text,
    decode,
    decode_application,
    encode,
)
from pourparler_policies.shuttle import events as shuttle
from pourparler_policies.sounding.events import Missed

SAID = Said(id=b"i" * 16, text="hello", life=60)
ACT = Act.of(1, Leaving())
FILE = Attached(
    id=b"i" * 16,
    life=60,
    attachment=b"a" * 16,
    token=b"t" * 32,
    key=b"k" * 32,
    size=65536,
    digest=b"d" * 32,
    name="minutes.pdf",
    kind="application/pdf",
    length=1000,
)
BESIDE = Beside(content=b"of a release")
CARRIED = Shuttle.of(b"i" * 16, 60, shuttle.Carried(b"j" * 16))
SHORTER = Shortened(id=b"i" * 16, life=0)
STEP = Attesting(peer=b"p" * 16, step=b"step")
SEATED = Seated(
    credential=b"c" * 16,
    device=b"d" * 16,
    name="Dan",
    public=bytes(CARD_PUBLIC),
    fingerprint=b"f" * 32,
    ground=Ground.ADMISSION,
    digest=b"s" * 32,
)

EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        Said,
        id=st.binary(min_size=16, max_size=16),
        text=st.text(min_size=1, max_size=50),
        life=st.integers(1, MAX_LIFE),
    ),
    st.builds(
        Seated,
        credential=st.binary(min_size=16, max_size=16),
        device=st.binary(min_size=16, max_size=16),
        name=st.text(max_size=20),
        public=st.binary(min_size=1, max_size=1).map(lambda byte: byte * CARD_PUBLIC),
        fingerprint=st.binary(min_size=32, max_size=32),
        ground=st.sampled_from(Ground),
        digest=st.sampled_from([b"", b"s" * 32]),
    ),
    st.builds(
        FILE.model_copy,
        update=st.fixed_dictionaries({"name": st.text(min_size=1, max_size=255), "length": st.integers(0, 65536)}),
    ),
    st.builds(Shortened, id=st.binary(min_size=16, max_size=16), life=st.integers(0, MAX_LIFE)),
    st.builds(Attesting, peer=st.binary(min_size=16, max_size=16), step=st.binary(max_size=40)),
    st.builds(
        Act.of,
        st.integers(1, 2**53 - 1),
        st.one_of(
            st.just(Leaving()),
            st.builds(Approved, st.binary(min_size=32, max_size=32), st.booleans()),
            st.builds(Proposed, st.builds(Recess, st.integers(0, 2**40))),
        ),
    ),
)


SOUNDING = payload.Sounding.of(Missed(b"i" * 16))


def envelope(*events: Event) -> Envelope:
    return Envelope(seq=7, chain=b"h" * 32, events=list(events))


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(encode(envelope(SAID))), **changes}).encode()


def event(**changes: Any) -> bytes:
    return changed(events=[{**json.loads(SAID.model_dump_json()), **changes}])


@given(st.integers(0, 2**53 - 1), st.binary(min_size=32, max_size=32), st.lists(EVENTS, max_size=4))
def test_what_was_encoded_is_decoded_alike(seq: int, chain: bytes, events: list[Event]) -> None:
    one = Envelope(seq=seq, chain=chain, events=events)
    assert decode(encode(one)) == one
    assert encode(decode(encode(one))) == encode(one)
    assert one.procedure == any(isinstance(event, Act | Seated) for event in events)


@pytest.mark.parametrize(
    "data",
    [
        event(type="communique"),
        event(type="Said"),
        event(type=""),
        changed(v=1),
        changed(v=3),
        changed(v=0),
        changed(events=[json.loads(SAID.model_dump_json()), {"type": "new", "anything": 1}]),
    ],
)
def test_an_event_or_version_of_another_release_halts_and_is_never_skipped(data: bytes) -> None:
    with pytest.raises(Unknown):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"null",
        b"[" * 100_000,
        encode(envelope(SAID))[:-1],
        encode(envelope(SAID)) + b"x",
        changed(more=1),
        changed(v="2"),
        changed(v=None),
        changed(seq=-1),
        changed(seq=2**53),
        changed(seq=1.5),
        changed(seq="7"),
        changed(chain="AAAA"),
        changed(chain=7),
        changed(events=[SAID.model_dump(mode="json")] * (MAX_EVENTS + 1)),
        event(text=""),
        event(text=7),
        event(life=0),
        event(life=MAX_LIFE + 1),
        event(life="60"),
        event(id="AAAA"),
        event(more=1),
        changed(events=[{}]),
        changed(events=[{"text": "no type"}]),
        b" " * (MAX_ENVELOPE + 1),
    ],
)
def test_what_is_no_envelope_is_void(data: bytes) -> None:
    with pytest.raises(Void):
        decode(data)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        decode(data)
    except (Void, Unknown):
        return
    pytest.fail("random bytes are an envelope")


@given(st.data())
def test_no_alteration_of_an_envelope_raises_anything_else(data: st.DataObject) -> None:
    good = bytearray(encode(envelope(SAID, SEATED)))
    place = data.draw(st.integers(0, len(good) - 1))
    good[place] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(good))
    except (Void, Unknown):
        return


def seat(**changes: Any) -> bytes:
    return changed(events=[{**json.loads(SEATED.model_dump_json()), **changes}])


@pytest.mark.parametrize(
    "data",
    [
        seat(ground="friendship"),
        seat(ground=None),
        seat(public="AAAA"),
        seat(public=7),
        seat(fingerprint="AAAA"),
        seat(digest="A" * 48),
        seat(name=7),
        seat(device="AAAA"),
        changed(events=[{**json.loads(ACT.model_dump_json()), "counter": 0}]),
        changed(events=[{**json.loads(ACT.model_dump_json()), "counter": 2**53}]),
        changed(events=[{**json.loads(ACT.model_dump_json()), "counter": "1"}]),
        changed(events=[{**json.loads(ACT.model_dump_json()), "content": "A" * (MAX_EVENT * 2)}]),
        changed(events=[{**json.loads(STEP.model_dump_json()), "step": "A" * (2 * MAX_STEP)}]),
        changed(events=[{**json.loads(STEP.model_dump_json()), "peer": "AAAA"}]),
    ],
)
def test_an_event_with_a_part_that_is_none_is_void(data: bytes) -> None:
    with pytest.raises(Void):
        decode(data)


@pytest.mark.parametrize(
    "change",
    [
        {"length": 65537},  # more than its attachment holds
        {"length": -1},
        {"size": 65535},
        {"size": 2 * 105906176},
        {"name": ""},
        {"name": "x" * 256},
        {"name": 7},
        {"kind": "x" * 256},
        {"key": "AAAA"},
        {"token": "AAAA"},
        {"digest": "AAAA"},
        {"attachment": "AAAA"},
        {"life": 0},
        {"more": 1},
    ],
)
def test_a_file_that_cannot_be_is_void(change: dict[str, Any]) -> None:
    good = json.loads(FILE.model_dump_json())
    assert decode(changed(events=[good])).events == [FILE]
    with pytest.raises(Void):
        decode(changed(events=[{**good, **change}]))


def test_the_longest_name_fits_a_small_entry_and_no_secret_shows_in_a_report() -> None:
    longest = FILE.model_copy(update={"name": "\x01" * 255})
    assert len(encode(envelope(longest))) < BUCKETS[1] - 1024
    assert "kkkk" not in repr(FILE)
    assert "tttt" not in repr(FILE)


def test_an_act_of_another_version_is_unknown_and_a_broken_one_is_void_when_it_is_read() -> None:
    later = Act(counter=1, content=encode_act(Leaving()).replace(b"Leaving", b"Leaning"))
    with pytest.raises(Unknown):
        _ = decode(encode(envelope(later))).events[0].event  # type: ignore[union-attr]
    with pytest.raises(Void):
        _ = Act(counter=1, content=encode_act(Leaving())[:-1]).event
    assert ACT.event == Leaving()


def test_an_application_entry_holds_one_message_or_events_of_one_other_kind() -> None:
    for good in ([SAID], [FILE], [BESIDE], [ACT], [ACT, Act.of(2, Approved(b"s" * 32))], [STEP, STEP]):
        assert decode_application(encode(envelope(*good))).events == good
    for bad in (
        [],
        [SAID, SAID],
        [FILE, FILE],
        [FILE, SAID],
        [SEATED],
        [SAID, ACT],
        [ACT, STEP],
        [SAID, STEP],
        [ACT, SEATED],
        [BESIDE, BESIDE],
        [BESIDE, ACT],
        [CARRIED, CARRIED],
        [CARRIED, SAID],
        [SOUNDING, SOUNDING],
        [SOUNDING, STEP],
    ):
        with pytest.raises(Void):
            decode_application(encode(envelope(*bad)))


def test_a_commit_explains_only_whom_it_seats() -> None:
    for good in ([], [SEATED], [SEATED, SEATED]):
        assert payload.decode_commit(encode(envelope(*good))).events == good
    for bad in ([SAID], [BESIDE], [ACT], [STEP], [SEATED, SAID], [SEATED, ACT]):
        with pytest.raises(Void):
            payload.decode_commit(encode(envelope(*bad)))


def test_messages_papers_and_attestation_are_outside_the_procedure() -> None:
    outside = (SAID, FILE, SHORTER, BESIDE, CARRIED, STEP, SOUNDING)
    assert [envelope(one).procedure for one in (*outside, ACT, SEATED)] == [False] * 7 + [True] * 2
    kinds = (Said, Attached, Shortened, Act, Beside, Shuttle, Sounding, Attesting, Seated)
    assert {one.model_fields["type"].default for one in kinds} == payload.TYPES


def test_events_wait_in_a_vault_and_come_back_alike() -> None:
    events: list[Event] = [SAID, FILE, SHORTER, CARRIED, ACT, STEP, SEATED]
    assert payload.decode_events(payload.encode_events(events)) == events
    for junk in (b"", b"{}", b"[7]", b"[" * 50_000, payload.encode_events(events)[:-1]):
        with pytest.raises(Void):
            payload.decode_events(junk)


def test_the_largest_entries_fit_what_an_entry_may_be() -> None:
    assert len(encode(envelope(*[STEP.model_copy(update={"step": bytes(1186)})] * 8))) < BUCKETS[2] - 1024
    amend = Act(counter=1, content=bytes(MAX_EVENT))
    assert len(encode(envelope(amend))) <= min(MAX_ENVELOPE, BUCKETS[-1] - 1024)


def test_the_longest_message_fits_the_bucket_that_it_is_meant_for() -> None:
    text = check_text("\x01" * MAX_TEXT)
    size = len(encode(envelope(Said(id=b"i" * 16, text="x" * MAX_TEXT, life=60))))
    assert size < BUCKETS[3] - 1024
    # JSON writes a control character in six bytes: the worst text still fits an entry
    assert len(encode(envelope(Said(id=b"i" * 16, text=text, life=60)))) <= min(MAX_ENVELOPE, BUCKETS[-1] - 1024)


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u2003"])
def test_empty_text_is_refused(text: str) -> None:
    with pytest.raises(Misuse, match="empty"):
        check_text(text)


def test_text_is_counted_in_bytes_and_refused_beyond_the_limit() -> None:
    assert check_text("é" * (MAX_TEXT // 2)) == "é" * (MAX_TEXT // 2)
    with pytest.raises(Misuse, match=str(MAX_TEXT)):
        check_text("é" * (MAX_TEXT // 2) + "x")
    with pytest.raises(Misuse, match="not text"):
        check_text("half a character: \ud800")


@pytest.mark.parametrize(
    "name",
    ["Ada", "  Ada  ", "Анна", "أمل", "می‌خواهم", "ශ්‍රී", "李", "O’Neill-García", "x" * MAX_NAME, "é"],
)
def test_names_of_any_script_are_allowed_and_canonical(name: str) -> None:
    canonical = check_name(name)
    assert check_name(canonical) == canonical == unicodedata.normalize("NFC", canonical)


@pytest.mark.parametrize(
    "name",
    [
        *("", "  ", "x" * (MAX_NAME + 1), "a\nb", "a\tb", "a\x1b[2Jb", "a\x00b", "a\x7fb", "a\x9bb", "a\u2028b"),
        *("a\u202eb", "a\u2066b", "a\u200eb", "a\u200fb", "a\u061cb", "a\ufeffb", "a\u200bb", "a\ue000b"),
        *("a\ud800b", "a\U000e0041b", "a\u00adb", "a\u2029b"),
    ],
)
def test_names_with_characters_that_readers_cannot_see_are_refused(name: str) -> None:
    with pytest.raises(Misuse):
        check_name(name)


@given(st.text(max_size=80))
def test_a_name_that_passes_is_canonical_and_one_line(name: str) -> None:
    try:
        canonical = check_name(name)
    except Misuse:
        return
    assert check_name(canonical) == canonical
    assert len(canonical.splitlines()) == 1
    assert not {unicodedata.category(char) for char in canonical} & {"Cc", "Cs", "Co", "Zl", "Zp"}
