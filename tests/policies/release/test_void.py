"""Every reason for which an event of release counts for nothing, each reached by one that a device could send.

A test compares this list with the reasons in the code.
"""

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import pourparler_policies.release as package
from pourparler_policies.charter.rules import Role
from pourparler_policies.fold import events as consent
from pourparler_policies.fold.events import Complained, Entry, Ground
from pourparler_policies.fold.facts import Admit, Close
from pourparler_policies.fold.testing import History, card, leaf, rules
from pourparler_policies.release import events as ev
from pourparler_policies.release import step
from pourparler_policies.release.facts import MAX_PAPERS, MAX_RESTARTS, Answer
from pourparler_policies.release.rules import Signatories
from pourparler_policies.release.testing import DAY, PAPER, RULES, Talks, nonce, revision, talks

Case = Callable[[], tuple[Talks, Entry]]
CASES: list[tuple[str, Case]] = []


def void(reason: str) -> Callable[[Case], Case]:
    def keep(case: Case) -> Case:
        CASES.append((reason, case))
        return case

    return keep


def drafted(**options: object) -> Talks:
    made = talks(2, intermediary=True, **options)  # type: ignore[arg-type]
    made.draft()
    return made


def appointed(*signing: str) -> Talks:
    """a1 and b1 have an appointment, and these have committed."""
    made = talks(2, intermediary=True)
    made.appoint("a1", "b1")
    made.commit(*signing)
    return made


def frozen() -> Talks:
    made = talks(2, intermediary=True)
    made.freeze("a1", "b1")
    return made


def on(made: Talks, word: str, event: ev.Event) -> tuple[Talks, Entry]:
    return made, made.event(word, event)


def appointing(made: Talks, **changed: int) -> tuple[Talks, Entry]:
    return on(made, "a1", made.appointment(**changed))


def initialled(**options: object) -> Talks:
    made = drafted(**options)
    made.initial("a1", "b1")
    return made


@void("the channel is closed")
def _() -> tuple[Talks, Entry]:
    made = talks(2)
    digest = made.history.digest(Close())
    made.post("a1", consent.Proposed(Close()), consent.Approved(digest))
    made.post("b1", consent.Approved(digest), consent.Enacted(digest))
    return on(made, "a1", ev.Commented(PAPER, b""))


@void("nobody in the group wrote this")
def _() -> tuple[Talks, Entry]:
    made = drafted()
    return made, ev.entry(9, made.now, leaf("stranger"), ev.Commented(PAPER, made.text.digest), 1)


@void("the author's counter does not rise")
def _() -> tuple[Talks, Entry]:
    made = drafted()
    made.initial("a1")
    made.post("a1", ev.Retracted(PAPER))
    return made, made.log[-2]  # a copy of the initial, sealed anew by somebody else


@void("a new paper has a new number of 16 bytes")
def _() -> tuple[Talks, Entry]:
    return on(drafted(), "b1", ev.Drafted(PAPER, revision("Mine.", 2), DAY))


@void("a body has at most")
def _() -> tuple[Talks, Entry]:
    made = talks(2)
    for number in range(MAX_PAPERS):
        made.post("a1", ev.Drafted(bytes([number]) * 16, revision("One.", 2), DAY))
    return on(made, "a1", ev.Drafted(PAPER, revision("One more.", 2), DAY))


@void("a paper lives no longer than the charter says")
def _() -> tuple[Talks, Entry]:
    return on(talks(2), "a1", ev.Drafted(PAPER, revision("For ever.", 2), RULES.papers + 1))


@void("a revision names its text")
def _() -> tuple[Talks, Entry]:
    return on(talks(2), "a1", ev.Drafted(PAPER, revision("Nobody's.", 0), DAY))


@void("a revision names its text")
def _() -> tuple[Talks, Entry]:
    return on(talks(2), "a1", ev.Drafted(PAPER, replace(revision("Nothing.", 2), withdraws=True), DAY))


@void("this is the revision on the table")
def _() -> tuple[Talks, Entry]:
    made = drafted()
    return on(made, "b1", ev.Revised(PAPER, made.text.digest, made.text))


@void("another revision is on the table by now")
def _() -> tuple[Talks, Entry]:
    made = drafted()
    old = made.text.digest
    made.post("b1", ev.Revised(PAPER, old, revision("Other.", 2)))
    return on(made, "a1", ev.Initialled(PAPER, old))


@void("there is no such paper on the table")
def _() -> tuple[Talks, Entry]:
    return on(talks(2), "a1", ev.Initialled(PAPER, b""))


@void("another body put this on the table")
def _() -> tuple[Talks, Entry]:
    return on(drafted(), "b1", ev.Shelved(PAPER))


@void("the text is frozen")
def _() -> tuple[Talks, Entry]:
    return on(frozen(), "a1", ev.Shelved(PAPER))


@void("an intermediary initials and signs nothing")
def _() -> tuple[Talks, Entry]:
    made = drafted()
    return on(made, "m1", ev.Initialled(PAPER, made.text.digest))


@void("prepares and does not decide")
def _() -> tuple[Talks, Entry]:
    named = {"a1": ("a", Role.DELEGATE), "a2": ("a", Role.ASSISTANT), "b1": ("b", Role.DELEGATE)}
    history = History(rules({"a": 1, "b": 1}, named, seats=3), "a1")
    history.seat_founder("b1", "a1")
    history.seat_founder("a2", "a1", "b1")
    made = talks(history=history)
    made.draft("a2")
    return on(made, "a2", ev.Initialled(PAPER, made.text.digest))


@void("this seat has not initialled it")
def _() -> tuple[Talks, Entry]:
    return on(drafted(), "b1", ev.Retracted(PAPER))


@void("an intermediary has no vote")
def _() -> tuple[Talks, Entry]:
    return on(drafted(), "m1", ev.Opposed(PAPER))


@void("this seat has not objected")
def _() -> tuple[Talks, Entry]:
    return on(drafted(), "b1", ev.Relented(PAPER))


@void("one case at a time")
def _() -> tuple[Talks, Entry]:
    return appointing(frozen())


@void("under this charter no joint text is published")
def _() -> tuple[Talks, Entry]:
    return appointing(initialled(rules=replace(RULES, signatories=Signatories.NOBODY)))


@void("the text's signatories are not those of the charter")
def _() -> tuple[Talks, Entry]:
    made = talks(2)
    made.post("a1", ev.Drafted(PAPER, revision("Three.", 3), 9 * DAY))
    made.initial("a1", "b1")
    return appointing(made)


@void("a party cannot act")
def _() -> tuple[Talks, Entry]:
    made = initialled()
    made.post("b1", Complained())
    return appointing(made)


@void("somebody objects")
def _() -> tuple[Talks, Entry]:
    made = initialled()
    made.post("b1", ev.Opposed(PAPER))
    return appointing(made)


@void("not every party has initialled this revision")
def _() -> tuple[Talks, Entry]:
    return appointing(drafted())


@void("only what stands published here")
def _() -> tuple[Talks, Entry]:
    made = talks(2)
    made.post("a1", ev.Drafted(PAPER, revision("Instead.", 2, corrects=b"x" * 32), 9 * DAY))
    made.initial("a1", "b1")
    return appointing(made)


@void("an appointment ends later than now")
def _() -> tuple[Talks, Entry]:
    made = initialled()
    return appointing(made, sign_by=made.now + RULES.sign_within + 1)


@void("an appointment ends later than now")
def _() -> tuple[Talks, Entry]:
    made = initialled()
    return appointing(made, opens=made.now - 60, sign_by=made.now)


@void("devices complete after the sign deadline")
def _() -> tuple[Talks, Entry]:
    made = initialled()
    return appointing(made, deposit_by=made.now + DAY)


@void("the text's hour is before")
def _() -> tuple[Talks, Entry]:
    made = talks(2)
    made.draft(not_before=made.now + DAY)
    made.initial("a1", "b1")
    return appointing(made)


@void("the paper would expire before its release is over")
def _() -> tuple[Talks, Entry]:
    made = talks(2)
    made.post("a1", ev.Drafted(PAPER, revision("Soon.", 2), 2 * DAY))
    made.initial("a1", "b1")
    return appointing(made)


@void("there is no appointment")
def _() -> tuple[Talks, Entry]:
    return on(initialled(), "a1", ev.First(nonce(1), 0, b"u"))


@void("this comes too late or too early")
def _() -> tuple[Talks, Entry]:
    return on(appointed("a1"), "a1", ev.Second(nonce(1), b"Y"))


@void("a signer's message has 1 to")
def _() -> tuple[Talks, Entry]:
    return on(appointed(), "a1", ev.First(nonce(1), 0, b"u" * 2000))


@void("the appointment has not begun")
def _() -> tuple[Talks, Entry]:
    made = initialled()
    made.post("a1", made.appointment(opens=made.now + 60))
    return on(made, "a1", ev.First(nonce(1), 0, b"u"))


@void("a new round has a new nonce of 32 bytes")
def _() -> tuple[Talks, Entry]:
    made = appointed("a1")
    made.commit("a1", number=2)
    return on(made, "b1", ev.First(nonce(1), 1, b"u"))


@void("one seat begins at most")
def _() -> tuple[Talks, Entry]:
    made = appointed()
    for number in range(MAX_RESTARTS):
        made.commit("a1", number=number)
    return on(made, "a1", ev.First(nonce(99), 0, b"u"))


@void("every signer of this round has committed")
def _() -> tuple[Talks, Entry]:
    return on(appointed("a1", "b1"), "a1", ev.First(nonce(1), 0, b"u"))


@void("this seat has committed in this round")
def _() -> tuple[Talks, Entry]:
    return on(appointed("a1"), "a1", ev.First(nonce(1), 1, b"other"))


@void("this commitment is somebody else's")
def _() -> tuple[Talks, Entry]:
    return on(appointed("a1"), "b1", ev.First(nonce(1), 1, b"u a1"))


@void("a further mask comes after its party's key")
def _() -> tuple[Talks, Entry]:
    return on(appointed("a1"), "b1", ev.First(nonce(1), None, b"u"))


@void("the text has no such line of signature")
def _() -> tuple[Talks, Entry]:
    return on(appointed("a1"), "b1", ev.First(nonce(1), 0, b"u"))


@void("a party signs once")
def _() -> tuple[Talks, Entry]:
    made = talks(2, delegates=2)
    made.appoint("a1", "b1")
    made.commit("a1")
    return on(made, "a2", ev.First(nonce(1), 1, b"u"))


@void("this seat's message is there")
def _() -> tuple[Talks, Entry]:
    made = appointed("a1", "b1")
    made.reveal("a1")
    return on(made, "a1", ev.Second(nonce(1), b"other"))


@void("this seat's message is there")
def _() -> tuple[Talks, Entry]:
    made = appointed("a1", "b1")
    made.reveal("a1", "b1")
    made.prepare("a1")
    return on(made, "a1", ev.Third(nonce(1), b"other"))


@void("this belongs to a round that is void")
def _() -> tuple[Talks, Entry]:
    return on(appointed("a1", "b1"), "a1", ev.Second(nonce(2), b"Y"))


@void("this seat signs nothing in this round")
def _() -> tuple[Talks, Entry]:
    return on(appointed("a1", "b1"), "m1", ev.Second(nonce(1), b"Y"))


@void("no longer its act by its decision rule")
def _() -> tuple[Talks, Entry]:
    made = talks(2, delegates=2)
    made.appoint("a1", "b1")
    made.initial("b2")
    made.commit("a1", "b1")
    made.reveal("b1")
    made.post("b2", consent.Held(made.seat("b1")))
    return on(made, "a1", ev.Second(nonce(1), b"Y"))


@void("people would have to sign together")
def _() -> tuple[Talks, Entry]:
    made = talks(2)
    made.draft()
    crowded = replace(made.state.consent.rules, parties={"a": 17, "b": 17})
    made.state = replace(made.state, consent=replace(made.state.consent, rules=crowded))
    return on(made, "a1", made.appointment())


@void("this seat has said so")
def _() -> tuple[Talks, Entry]:
    made = frozen()
    made.post("a1", ev.Completed(nonce(1)))
    return on(made, "a1", ev.Completed(nonce(1)))


@void("the desk cannot have said this yet")
def _() -> tuple[Talks, Entry]:
    return on(frozen(), "a1", ev.Told(nonce(1), Answer.LAPSED))


@void("what an unattested device says")
def _() -> tuple[Talks, Entry]:
    made = talks(2)
    history = made.history
    subject = Admit("a", Role.DELEGATE, card("a2"))
    history.commit("a1", history.adding("a2", Ground.ADMISSION, history.agree(subject, "a1", "b1")))
    made = talks(history=history)
    return on(made, "a2", ev.Drafted(PAPER, revision("Mine.", 2), DAY))


@pytest.mark.parametrize(("reason", "case"), CASES, ids=[f"{n}-{reason}" for n, (reason, _) in enumerate(CASES)])
def test_a_void_event_changes_nothing_but_its_authors_counter(reason: str, case: Case) -> None:
    made, entry = case()
    outcome = step(made.state, entry)
    assert reason in outcome.void
    before, after = made.state, outcome.state
    assert replace(after, consent=before.consent) == before
    for device in after.consent.devices.values():
        assert replace(device, counter=0) == replace(before.consent.devices[device.card], counter=0)


def test_every_reason_in_the_code_has_its_case() -> None:
    missing = []
    for file in Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
                continue
            if not isinstance(node.exc.func, ast.Name) or node.exc.func.id != "Void":
                continue
            parts = [
                c.value for c in ast.walk(node.exc) if isinstance(c, ast.Constant) and isinstance(c.value, str)
            ]
            if not any(reason in part or part.strip() in reason for reason, _ in CASES for part in parts):
                missing.append((file.name, parts))
    # The tables' own sentences: `test_documents.py` asks them; the acts look before they move a case. What is arranged
    # between channels: `test_relayed.py`.
    assert {file for file, _ in missing} <= {"table.py", "relayed.py"}
