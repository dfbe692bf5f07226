"""Small changes of a state, and what follows from consent and from time by itself. Each returns a new state."""

from dataclasses import replace

from pourparler_policies.ideas import acts as ideas

from .facts import Answer, Case, Mark, Paper, Phase, State
from .table import GONE, Sequel, Trigger, mark, move


def put_paper(state: State, paper: Paper) -> State:
    """The state with this paper as it is now."""
    return replace(state, papers={**state.papers, paper.id: paper})


def shift(state: State, trigger: Trigger) -> State:
    """Moves the case along `table.CASE`. An ended one leaves nothing. Raises Void."""
    case = state.case
    if case is None:
        return state
    phase = move(case.phase, trigger)
    if phase is GONE:
        return replace(state, case=None)
    if phase is Phase.APPOINTED:
        case = replace(case, nonce=b"", signers={})
    return replace(state, case=replace(case, phase=phase))


def settle(state: State) -> State:
    """What follows from the consent and the time that the log has now: nobody need say it."""
    state = replace(state, round=ideas.settle(state.round, state.consent))
    if state.consent.closed:
        return replace(shift(state, Trigger.CLOSED), papers={})
    now = state.consent.time
    seats = frozenset(state.consent.seats)
    papers = {
        paper.id: replace(
            paper,
            initials={seat: final for seat, final in paper.initials.items() if seat in seats},
            opposed=paper.opposed & seats,
        )
        for paper in state.papers.values()
        if now < paper.expires
    }
    state = replace(state, papers=papers)
    case = state.case
    if case is None:
        return state
    if case.phase is Phase.FROZEN:
        if now >= case.ends:
            return finish(state, Trigger.OVER)
        return finish(state, Trigger.IN_VAIN) if now >= case.deposit_by and not case.awaited else state
    if case.paper not in papers:
        return shift(state, Trigger.VOIDED)
    if now >= case.sign_by:
        return shift(state, Trigger.LATE)
    return state if case.signers.keys() <= seats else shift(state, Trigger.LEFT)


def amended(state: State) -> State:
    """Another charter is in force: no initial and no appointment given under the old one outlives it."""
    papers = {paper.id: replace(paper, initials={}) for paper in state.papers.values()}
    state = replace(state, papers=papers)
    if state.case is None or state.case.phase is Phase.FROZEN:
        return state
    return shift(state, Trigger.VOIDED)


def finish(state: State, trigger: Trigger) -> State:
    """The frozen case is over. It was published if two parties were told so, and nobody anything else."""
    case = state.case
    if case is None:
        return state
    told = {(signer.party, signer.answer) for signer in case.signers.values() if signer.answer}
    released = dict(state.released)
    if len({party for party, _ in told}) > 1 and {answer for _, answer in told} == {Answer.PUBLISHED}:
        released[case.text.digest] = Mark.PUBLISHED
        if released.get(case.text.corrects) is Mark.PUBLISHED:
            sequel = Sequel.TAKEN_BACK if case.text.withdraws else Sequel.CORRECTED
            released[case.text.corrects] = mark(Mark.PUBLISHED, sequel)
    return replace(shift(state, trigger), released=released)


def put_case(state: State, case: Case) -> State:
    """The state with this case."""
    return replace(state, case=case)
