"""What travels between devices has one encoding: whatever is read encodes to the very bytes, or is refused."""

import ast
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_policies.charter.rules import MAX_CHARTER, Role
from pourparler_policies.errors import Unknown, Void
from pourparler_policies.fold import apply, decoding
from pourparler_policies.fold import events as ev
from pourparler_policies.fold.decoding import (
    MAX_COMMIT,
    MAX_EVENT,
    MAX_STATE,
    decode_commit,
    decode_event,
    decode_state,
)
from pourparler_policies.fold.encoding import encode, subject_digest
from pourparler_policies.fold.events import Added, Commit, Entry, Ground
from pourparler_policies.fold.exploring import Play, entries
from pourparler_policies.fold.facts import (
    Adjourn,
    Admit,
    Amend,
    Close,
    Device,
    Erase,
    Expel,
    Lift,
    Open,
    Phase,
    Recall,
    Recess,
    Replace,
    Seat,
    State,
    Subject,
)
from pourparler_policies.fold.testing import DAY, NOTICE, START, History, card, founded, leaf
from pourparler_policies.fold.testing import rules as make_rules

Decode = Callable[[bytes], Any]


def item(tag: bytes, body: bytes) -> bytes:
    """As the encoding writes it."""
    return tag + len(body).to_bytes(4, "big") + body


def record(name: str, *parts: bytes) -> bytes:
    return item(b"d", encode(name) + b"".join(parts))


SUBJECTS: list[Subject] = [
    Admit("a", Role.DELEGATE, card("a3")),
    Replace(b"s" * 32, card("a1"), card("a3")),
    Expel(b"s" * 32),
    Recall(b"s" * 32),
    Lift(b"s" * 32),
    Recess(START + DAY),
    Erase(7),
    Adjourn(START + DAY),
    Amend(b"any bytes"),
    Close(),
]
EVENTS: list[ev.Event] = [
    *(ev.Proposed(subject) for subject in SUBJECTS),
    ev.Dropped(b"d" * 32),
    ev.Approved(b"d" * 32),
    ev.Approved(b"d" * 32, confirm=True),
    ev.Withdrawn(b"d" * 32),
    ev.Objected(b"d" * 32),
    ev.Yielded(b"d" * 32),
    ev.Enacted(b"d" * 32),
    ev.Cancelled(card("a1")),
    ev.Attested(leaf("a1")),
    ev.Absent(leaf("a1")),
    ev.Held(b"s" * 32),
    ev.Discarded(card("a1")),
    ev.Complained(),
    ev.Leaving(),
    ev.Acknowledged(),
    ev.Disclosed((bytes(32), b"s" * 32)),
]
COMMITS: list[Commit] = [
    Commit(),
    Commit(("add",), (Added(leaf("a1"), card("a1"), Ground.RETURN),)),
    Commit(("add", "remove"), (Added(leaf("a1"), card("a1"), Ground.REPLACEMENT, b"d" * 32),), (leaf("a2"),)),
    Commit(("remove", "update"), (), (leaf("a1"), leaf("a2")), (leaf("b1"),)),
    Commit(("group_context_extensions",), charter=b"h" * 32),
]


def rich() -> State:
    """A state in which every field holds something."""
    history = founded(2, delegates=2, intermediary=True)
    history.agree(Recess(START + DAY), "a1", "b1")
    digest = history.agree(Admit("a", Role.DELEGATE, card("a3")), "a1")
    history.post("a2", ev.Approved(digest, confirm=True))
    history.post("b1", ev.Objected(digest), ev.Absent(history.device("a2").credential))
    history.post("b2", ev.Held(history.seat("b2")))
    history.enact(Erase(3), "a1", "b1")
    history.enact(Adjourn(START + DAY), "a1", "b1")
    history.now += NOTICE
    return history.state


def test_every_event_every_subject_and_every_commit_comes_back_alike() -> None:
    assert {type(event) for event in EVENTS} == set(ev.Event.__args__)  # type: ignore[attr-defined]
    assert {type(subject) for subject in SUBJECTS} == set(Subject.__args__)  # type: ignore[attr-defined]
    for event in EVENTS:
        assert decode_event(encode(event)) == event
    for commit in COMMITS:
        assert decode_commit(encode(commit)) == commit
    assert decode_state(encode(rich())) == rich()


def everything(rule: int) -> Play:
    history = founded(2, delegates=2, intermediary=True, rule=rule)
    cast = {f"{body}{n}": body for body in "ab" for n in (1, 2, 3)} | {"m1": "m"}
    subjects: dict[tuple[str, ...], Subject] = {("recess",): Recess(START + DAY), ("close",): Close()}
    for word, body in cast.items():
        role = Role.INTERMEDIARY if body == "m" else Role.HEAD if rule == 0 and word[1] == "1" else Role.DELEGATE
        subjects["admit", word] = Admit(body, role, card(word))
        seat = subject_digest(history.rules, subjects["admit", word])
        subjects["lift", word], subjects["expel", word] = Lift(seat), Expel(seat)
        if word[1] != "3" and body != "m":
            subjects["replace", word] = Replace(seat, card(word), card(f"{body}3"))
    return Play(history.state, cast, subjects)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=10, max_size=40), st.sampled_from([0, 1, 2]))
def test_along_any_history_every_entry_and_every_state_comes_back_alike(choices: list[int], rule: int) -> None:
    play = everything(rule)
    state = play.start
    for choice in choices:
        possible = list(entries(play, state))
        for attempt in range(40):
            if not possible:
                return
            entry = possible[(choice * 7 + attempt * 31) % len(possible)]
            try:
                after = apply(state, entry)
            except Void:
                continue
            decode: Decode = decode_commit if isinstance(entry.content, Commit) else decode_event
            assert decode(encode(entry.content)) == entry.content
            again = decode_state(encode(after))
            assert again == after
            assert encode(again) == encode(after)
            state = again  # what was read is folded on like what was there
            break


def refused_or_exact(decode: Decode, data: bytes, original: bytes) -> None:
    assert data != original
    try:
        value = decode(data)
    except (Void, Unknown):
        return
    assert encode(value) == data


@pytest.mark.parametrize("value", [*EVENTS, *COMMITS], ids=lambda value: type(value).__name__)
def test_every_truncation_is_refused_and_every_changed_bit_is_refused_or_another_value(value: Any) -> None:
    decode: Decode = decode_commit if isinstance(value, Commit) else decode_event
    good = encode(value)
    for length in range(len(good)):
        with pytest.raises(Void):
            decode(good[:length])
    for place, bit in itertools.product(range(len(good)), range(8)):
        altered = bytearray(good)
        altered[place] ^= 1 << bit
        refused_or_exact(decode, bytes(altered), good)


def test_every_truncation_and_every_changed_byte_of_a_state_is_refused_or_another_state() -> None:
    good = encode(rich())
    for length in range(0, len(good), 7):
        with pytest.raises(Void):
            decode_state(good[:length])
    for place in range(len(good)):
        altered = bytearray(good)
        altered[place] ^= 1 << (place % 8)
        refused_or_exact(decode_state, bytes(altered), good)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from([*EVENTS, *COMMITS]))
def test_whatever_is_cut_out_or_put_in_raises_nothing_else(data: st.DataObject, value: Any) -> None:
    decode: Decode = decode_commit if isinstance(value, Commit) else decode_event
    good = encode(value)
    altered = bytearray(good)
    place = data.draw(st.integers(0, len(good)))
    altered[place : place + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=12))
    if bytes(altered) != good:
        refused_or_exact(decode, bytes(altered), good)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for decode in (decode_event, decode_commit, decode_state):
        refused_or_exact(decode, data, b"no bytes of an encoding")


DEEP = b""
for _ in range(2_000):  # deeper than Python calls
    DEEP = item(b"t", DEEP)


def odd_mapping() -> bytes:
    """A state whose parties have a key more than values."""
    state = rich()
    parts = [encode(getattr(state.rules, name)) for name in state.rules.__dataclass_fields__]
    parts[1] = item(b"m", encode("a") + encode(1) + encode("b"))
    others = [encode(getattr(state, name)) for name in list(state.__dataclass_fields__)[1:]]
    return record("State", record("Rules", *parts), *others)


# Reason -> what to decode
CASES: list[tuple[str, Decode, bytes]] = [
    ("larger than anything of its kind", decode_event, bytes(MAX_EVENT + 1)),
    ("larger than anything of its kind", decode_commit, bytes(MAX_COMMIT + 1)),
    ("larger than anything of its kind", decode_state, bytes(MAX_STATE + 1)),
    ("not in its canonical form", decode_event, encode(ev.Leaving()) + b"x"),
    ("not in its canonical form", decode_event, record("Proposed", record("Recess", item(b"i", b"07")))),
    ("not in its canonical form", decode_event, record("Proposed", record("Recess", item(b"i", b"-0")))),
    ("cut short", decode_event, b""),
    ("cut short", decode_event, encode(ev.Leaving())[:-1]),
    ("cut short", decode_event, b"d\xff\xff\xff\xff"),
    (
        "none of the words",
        decode_event,
        record("Proposed", record("Admit", encode("a"), encode("king"), encode(card("a1")))),
    ),
    ("of another kind", decode_event, encode(7)),
    ("of another kind", decode_event, encode(None)),
    ("of another kind", decode_event, record("Approved", DEEP, encode(True))),
    ("of another kind", decode_event, record("leaving")),
    ("of another kind", decode_event, record("Approved", encode("text"), encode(True))),
    ("of another kind", decode_event, record("Approved", encode(b"d" * 32), encode(1))),
    ("of another kind", decode_event, record("Approved", encode(b"d" * 32), item(b"b", b"\x02"))),
    ("of another kind", decode_event, record("Proposed", record("Recess", item(b"i", b"1e9")))),
    ("of another kind", decode_event, record("Proposed", record("Recess", item(b"i", b"9" * 5000)))),
    ("of another kind", decode_event, record("Proposed", record("Recess", item(b"i", "٣".encode())))),
    ("of another kind", decode_commit, record("Commit", *[encode(())] * 4, encode("n"))),
    (
        "not text",
        decode_event,
        record("Proposed", record("Admit", item(b"s", b"\xff"), encode("head"), encode(card("a")))),
    ),
    ("other parts", decode_event, record("Leaving", encode(1))),
    ("other parts", decode_event, record("Approved", encode(b"d" * 32))),
    ("other parts", decode_commit, encode(ev.Leaving())),
    ("other parts", decode_commit, item(b"d", b"")),
    ("other parts", decode_state, encode(Commit())),
    ("digest has another size", decode_event, encode(ev.Approved(b"d" * 31))),
    ("card has another size", decode_event, encode(ev.Cancelled(b""))),
    ("credential has another size", decode_event, encode(ev.Attested(b"c" * 17))),
    ("seat has another size", decode_event, encode(ev.Held(b"s" * 16))),
    ("old has another size", decode_event, encode(ev.Proposed(Replace(b"s" * 32, b"", card("a1"))))),
    ("new has another size", decode_event, encode(ev.Proposed(Replace(b"s" * 32, card("a1"), b"x")))),
    ("a key has no value", decode_state, odd_mapping()),
]


@pytest.mark.parametrize(("reason", "decode", "data"), CASES)
def test_what_is_no_encoding_is_void_with_its_reason(reason: str, decode: Decode, data: bytes) -> None:
    with pytest.raises(Void, match=reason):
        decode(data)


def test_every_reason_in_the_code_has_its_case() -> None:
    told = " | ".join(reason for reason, _, _ in CASES)
    reasons = [
        "".join(part.value for part in ast.walk(node.exc) if isinstance(part, ast.Constant))
        for node in ast.walk(ast.parse(Path(decoding.__file__).read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and "Void" in ast.dump(node.exc.func)
    ]
    assert len(reasons) > 8
    for reason in reasons:
        assert any(case in reason or reason.partition("a ")[2].strip() in case for case in told.split(" | ")), (
            reason
        )


@pytest.mark.parametrize("data", [DEEP, b"d\x00\x00\x00\x05" * 10_000, b"m\x00\x00\x00\x01" * 20_000])
def test_nesting_is_as_deep_as_the_types_are_and_costs_nothing(data: bytes) -> None:
    for decode in (decode_event, decode_commit, decode_state):
        with pytest.raises(Void):
            decode(data)


def test_nothing_is_read_out_of_a_field_that_is_too_deep_for_its_type() -> None:
    state = rich()
    parts = [encode(getattr(state, name)) for name in state.__dataclass_fields__]
    parts[4] = item(b"f", DEEP)  # spent: a set of cards
    with pytest.raises(Void):
        decode_state(record("State", *parts))


@pytest.mark.parametrize("name", ["News", "Amended", "leavingX".title(), "A" * 32])
def test_an_event_or_subject_of_another_version_is_unknown_and_never_void(name: str) -> None:
    for data in (
        record(name),
        record(name, encode(1), DEEP),
        record("Proposed", record(name, encode(b"x"))),
    ):
        with pytest.raises(Unknown):
            decode_event(data)


@pytest.mark.parametrize("name", ["", "news", "News\u202e", "New s", "N" * 33, "News1", "_News", "Ñews"])
def test_what_could_not_be_the_name_of_a_later_event_is_void(name: str) -> None:
    with pytest.raises(Void):
        decode_event(record(name))


def full(people: int) -> State:
    """Eight parties whose people have two devices each; all of them have attested each other."""
    bodies = "abcdefgh"
    cast = {f"{bodies[n % 8]}{n}": (bodies[n % 8], Role.DELEGATE) for n in range(people)}
    made = make_rules(dict.fromkeys(bodies, 1), cast, seats=32)
    words = [*cast, *(f"{word}x" for word in cast)]
    seats = {w: subject_digest(made, Admit(body, role, card(w))) for w, (body, role) in cast.items()}
    met = frozenset(card(word) for word in words)
    devices = {
        card(w): Device(
            card(w),
            seats[w.rstrip("x")],
            Phase.PRESENT,
            leaf(w),
            2**53 - 1,
            frozenset(bodies),
            met - {card(w)},
            dict.fromkeys(bodies, 2**40),
        )
        for w in words
    }
    arrived = {seats[w]: Seat(seats[w], body, role, True) for w, (body, role) in cast.items()}
    return State(made, arrived, devices, spent=met, founded=True)


def test_the_state_of_sixty_four_devices_and_an_amendment_can_be_read_by_a_newcomer() -> None:
    state = full(32)
    assert len(state.devices) == 64
    amendment = Open(Amend(bytes(MAX_CHARTER)), "a", dict.fromkeys(state.seats, True))
    state = replace(state, open={b"d" * 32: amendment})
    assert decode_state(encode(state)) == state


def test_whatever_ones_own_state_has_grown_to_can_be_read_from_ones_own_vault() -> None:
    data = encode(full(64))
    with pytest.raises(Void, match="larger"):
        decode_state(data, len(data) - 1)
    assert encode(decode_state(data, len(data))) == data


def test_a_commit_that_renews_and_removes_a_whole_channel_can_be_read() -> None:
    leaves = tuple(leaf(str(number)) for number in range(128))
    commit = Commit(("remove", "update"), (), leaves, leaves)
    assert decode_commit(encode(commit)) == commit


def test_the_counters_and_times_of_a_log_are_read_whole() -> None:
    for number in (0, 1, 2**53 - 1, -1):
        event = ev.Proposed(Recess(number))
        assert decode_event(encode(event)) == event
    history = History(make_rules({"a": 1, "b": 1}, {"a1": ("a", Role.DELEGATE), "b1": ("b", Role.DELEGATE)}), "a1")
    entry = Entry(1, 2**53 - 1, history.device("a1").credential, ev.Proposed(Erase(1)), 2**53 - 1)
    after = apply(history.state, entry)
    assert decode_state(encode(after)) == after
