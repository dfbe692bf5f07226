"""From an appointment to a person's signature: devices and log, one signer perhaps arbitrary, all of it real code.

1. Honest devices take part by themselves, may lose everything at any time, begin again, and post what they owe
   late, twice or never. The hostile one posts any message in any round, sound or not, begins rounds, and edits.
2. Persons sign or withdraw whenever their device lets them.
"""
# ruff: noqa: S101, D103 -- a kit for tests: its promises are assertions, and their names their sentences

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pourparler_policies.errors import Misuse, Void

from . import apply, device, events
from .changes import settle
from .device import Cue, Duty, Own, Secret, Stage
from .exploring import Walked, post_by, uncounted, walk
from .facts import GRACE, Case, Phase, State, Text
from .signing import put
from .testing import PAPER, Talks, between, lines_of, nonce, revision

BAD = b"does not fit"


@dataclass(frozen=True, slots=True)
class Round:
    """Where everything stands. `signed`: nonce and text to which each honest person has signed."""

    late: bool
    state: State
    owned: tuple[Own | None, ...]
    signed: tuple[tuple[bytes, bytes] | None, ...]


@dataclass(slots=True)
class Cast:
    """Who signs: the first of `names`, of which the first of each party has its key and the others are its further
    delegates. The last is hostile, if any. At most `rounds` are begun in one appointment.
    """

    parties: int
    hostile: bool = False
    edits: bool = True
    rounds: int = 2
    names: tuple[str, ...] = ("a1", "b1", "c1")
    words: tuple[str, ...] = field(init=False)
    lines: list[int | None] = field(init=False)
    talks: Talks = field(init=False)
    seats: tuple[bytes, ...] = field(init=False)
    texts: tuple[Text, Text] = field(init=False)
    known: dict[object, State] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.words = self.names[: self.parties]
        self.lines = lines_of(self.words)
        self.talks = between(self.words)
        self.talks.appoint(*self.words)
        self.seats = tuple(map(self.talks.seat, self.words))
        self.texts = (self.talks.text, revision("We met again.", self.talks.text.signatories))

    @property
    def honest(self) -> int:
        """How many signers are honest."""
        return self.parties - self.hostile

    def start(self) -> Round:
        """An appointment was made, and nobody has begun."""
        nobody = (None,) * self.honest
        return Round(False, uncounted(self.talks.state), nobody, nobody)


def following(cast: Cast, world: Round) -> Iterator[tuple[str, Round]]:
    """Every round one step further, with what happened."""
    case = world.state.case
    if not world.late and case is not None:
        consent = replace(world.state.consent, time=case.sign_by)
        yield "time", replace(world, late=True, state=settle(replace(world.state, consent=consent)))
    for number in range(cast.honest):
        yield from _device(cast, world, number)
        yield from _honest_posts(cast, world, number)
    if cast.hostile and not world.late:
        yield from _hostile(cast, world)


def _device(cast: Cast, world: Round, number: int) -> Iterator[tuple[str, Round]]:
    own, state = world.owned[number], world.state
    case = state.case
    if own is None:
        if case is not None and case.phase is not Phase.FROZEN and not world.late:
            new = nonce(len(case.spent))
            begins = [new] if len(case.spent) < cast.rounds else []
            joins = [case.nonce] if case.phase is Phase.COMMITTING else []
            for used in (*begins, *joins):
                yield f"{number} takes part", _own(world, number, device.joined(case, cast.seats[number], used))
        return
    yield f"{number} loses everything", _own(world, number, None)
    now = own.sign_by + GRACE if world.late else state.consent.time
    for act in (Cue.SIGN, Cue.WITHDRAW):
        try:
            after = device.act(own, act, state, state.consent.time)
        except Misuse:
            continue
        signed = (own.nonce, own.text) if act is Cue.SIGN else world.signed[number]
        signs = replace(world, signed=put(world.signed, number, signed))
        yield f"{number}: {act}", _own(signs, number, after)
    for cue in (device.watch(own, state, sound=sound(case), opened=False), device.due(own, now, now)):
        after = own if cue is None else device.follow(own, cue, now)
        if after != own:
            yield f"{number}: {cue}", _own(world, number, None if after.stage is Stage.CLEARED else after)


def sound(case: Case | None) -> bool:
    """What cryptography would say of every message in the round so far."""
    return case is not None and not any(
        BAD in (signer.first, signer.second, signer.third) for signer in case.signers.values()
    )


def _honest_posts(cast: Cast, world: Round, number: int) -> Iterator[tuple[str, Round]]:
    own, posts = world.owned[number], list[events.Event]()
    if own is not None:
        word = cast.words[number].encode()
        said: dict[Duty, events.Event] = {
            Duty.FIRST: events.First(own.nonce, cast.lines[number], b"u " + word + own.nonce),
            Duty.SECOND: events.Second(own.nonce, b"Y " + word),
            Duty.THIRD: events.Third(own.nonce, b"s " + word),
        }
        posts += [said[duty] for duty in own.owes if duty in said]
    if cast.edits and number == 0 and world.state.case is None and not world.late:
        # After an edit: whoever agrees initials anew, and an appointment is made.
        digest = world.state.papers[PAPER].text.digest
        posts += [events.Initialled(PAPER, digest), cast.talks.appointment(digest=digest)]  # type: ignore[arg-type]
    if cast.edits and world.state.case is None and not world.late:
        posts.append(events.Initialled(PAPER, world.state.papers[PAPER].text.digest))
    for posted in posts:
        yield from _log(cast, world, number, posted)


def _hostile(cast: Cast, world: Round) -> Iterator[tuple[str, Round]]:
    number, posts = cast.parties - 1, list[events.Event]()
    current = world.state.papers[PAPER].text.digest
    if cast.edits:
        posts += [events.Revised(PAPER, current, text) for text in cast.texts]
        posts += [events.Initialled(PAPER, current), events.Retracted(PAPER)]
    case = world.state.case
    if case is not None:
        new = [nonce(len(case.spent))] if len(case.spent) < cast.rounds else []
        for used in (*new, *sorted(case.spent)):
            mine = cast.lines[number]
            posts += [events.First(used, line, BAD) for line in dict.fromkeys((0, mine))]
            posts.append(events.First(used, mine, b"u of its own" + used))
            posts += [kind(used, message) for kind in (events.Second, events.Third) for message in (b"fits", BAD)]
    for posted in posts:
        yield from _log(cast, world, number, posted)


def _log(cast: Cast, world: Round, number: int, posted: events.Event) -> Iterator[tuple[str, Round]]:
    memo = (number, posted, id(world.state))
    if memo not in cast.known:
        state = world.state
        author = state.consent.devices[cast.talks.device(cast.words[number]).card]
        try:
            folded = uncounted(apply(state, post_by(author, state.consent.time, posted)))
        except Void:
            folded = state
        folded = cast.known.setdefault(_log_key(cast, folded), folded)
        cast.known[memo] = folded
    if cast.known[memo] is not world.state:
        yield f"{number} posts {type(posted).__name__}", replace(world, state=cast.known[memo])


def _own(world: Round, number: int, own: Own | None) -> Round:
    return replace(world, owned=put(world.owned, number, own))


# -- promises


def a_person_signs_only_what_is_frozen_whole_and_sound(cast: Cast, before: Round, after: Round) -> None:
    for number, signed in enumerate(after.signed):
        if signed is None or signed == before.signed[number]:
            continue
        case, own = after.state.case, after.owned[number]
        assert case is not None
        assert own is not None
        assert case.phase is Phase.FROZEN, "somebody signs a text that may still change"
        assert signed == (case.nonce, case.text.digest)
        assert sound(case), "somebody signs a round that cannot complete"
        mine, word = case.signers[own.seat], cast.words[number].encode()
        assert (mine.first, mine.third) == (b"u " + word + case.nonce, b"s " + word)
        assert set(case.signers) == set(cast.seats)


def what_somebody_signed_stays_the_live_text(cast: Cast, before: Round, after: Round) -> None:
    texts = {signed for signed in after.signed if signed is not None}
    assert len(texts) <= 1, "two texts are signed"
    for nonce_signed, text in texts:
        case = after.state.case
        assert case is not None
        assert (case.nonce, case.text.digest) == (nonce_signed, text), "a text is voided that somebody has signed"


def nothing_is_kept_of_a_void_round(cast: Cast, before: Round, after: Round) -> None:
    case = after.state.case
    for own in after.owned:
        if own is None or not own.holds or own.stage is Stage.SIGNED:
            continue
        cue = device.watch(own, after.state, sound=True, opened=False)
        counts = case is not None and case.nonce == own.nonce and own.seat in case.signers
        waits = own.stage is Stage.COMMITTED and case is not None and case.phase is not Phase.FROZEN
        assert counts or waits or cue is Cue.VOIDED, "a device keeps the secrets of a round that is void"


def the_mask_is_made_after_every_commitment_is_open(cast: Cast, before: Round, after: Round) -> None:
    for was, own in zip(before.owned, after.owned, strict=True):
        if own is not None and Secret.MASK in own.holds and (was is None or Secret.MASK not in was.holds):
            case = after.state.case
            assert case is not None
            assert all(signer.second for signer in case.signers.values())
            assert sound(case)


PROMISES = (
    a_person_signs_only_what_is_frozen_whole_and_sound,
    what_somebody_signed_stays_the_live_text,
    nothing_is_kept_of_a_void_round,
    the_mask_is_made_after_every_commitment_is_open,
)


def _log_key(cast: Cast, state: State) -> tuple[object, ...]:
    paper, case = state.papers[PAPER], state.case
    numbers = {seat: number for number, seat in enumerate(cast.seats)}
    table = (paper.text.digest, tuple(sorted(numbers[seat] for seat in paper.initials)))
    if case is None:
        return (table, state.consent.time)
    signers = tuple(sorted((numbers[k], s.line, s.first, s.second, s.third) for k, s in case.signers.items()))
    begun = tuple(sorted((numbers[k], count) for k, count in case.begun.items()))
    return (
        table,
        state.consent.time,
        case.text.digest,
        case.phase.value,
        case.nonce,
        begun,
        len(case.spent),
        signers,
    )


def explore(cast: Cast, *, limit: int = 1_000_000) -> Walked[Round]:
    """Every round that can be reached. Each step keeps every promise, or that raises AssertionError."""
    checks = [lambda before, _, after, kept=kept: kept(cast, before, after) for kept in PROMISES]
    return walk(cast.start(), lambda world: following(cast, world), lambda world: _key(cast, world), checks, limit)


def _key(cast: Cast, world: Round) -> object:
    owned = tuple((own.stage.value, own.nonce, own.text) if own is not None else None for own in world.owned)
    return (world.late, _log_key(cast, world.state), owned, world.signed)
