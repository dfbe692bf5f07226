"""Inquiries: "would you meet, on these terms?", before there is a channel. Institution and rules first, names later.

An intermediary makes one with `make` and gives each person the text that is sealed to their card. Who gets it keeps it
in the vault (`receive`), says yes or no (`answer`), and comes by between the two times (`visit`): what the device then
hands in, and when, is the same whatever was said and if nothing was. After the close `visit` learns whether everybody
said yes; only then do the names open. Nothing shows who made an inquiry: compare its digits with who gave it to you.
"""

import base64
import binascii
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pourparler_crypto import sounding as crypto
from pourparler_crypto.card import Card, CardKey, check_digits
from pourparler_crypto.errors import CryptoError
from pourparler_crypto.sounding import Answer, Counted, Tally, dealt, inquiry
from pourparler_policies import charter as charters
from pourparler_policies import wire
from pourparler_policies.charter import Charter
from pourparler_policies.charter.withholding import shown_before_a_yes
from pourparler_policies.limits import DAY
from pourparler_policies.wire import Problem

from .api import Api, check_url
from .errors import PourparlerError, Refused, Unreachable, UserError
from .vault import Vault

UNKNOWN, NOT_ALL, ALL, MISSED = -2, -1, 0, -3
_PREFIX: Final = "pourparler-inquiry:"
MAX_TEXT: Final = (inquiry.MAX_SEALED + 2) // 3 * 4 + 64  # characters of an inquiry's file
_KEPT: Final = 3 * DAY  # seconds after its close that an inquiry stays

Connect = Callable[[str, bytes | None], Api]


@dataclass(frozen=True, slots=True, repr=False)
class Held:
    """An inquiry in the vault. `charter` is without names until everybody has said yes."""

    handle: bytes
    url: str
    tally: Tally
    charter: Charter
    names: bytes
    secret: bytes
    moment: int
    result: int

    @property
    def digits(self) -> str:
        """To compare with the intermediary by voice."""
        return check_digits(self.handle)


def make(
    cards: Sequence[Card], charter: Charter, url: str, now: int, *, answer_within: int, collect_within: int
) -> tuple[str, list[str]]:
    """The digits of an inquiry, and its text for each card. Nothing of it is kept. Raises UserError.

    The cards are of the sides, one each; the charter's parties are told as numbered sides in a random order.
    """
    if len(cards) < 2:
        raise UserError("an inquiry goes to two sides or more")
    order = sorted(charter.parties)
    random.SystemRandom().shuffle(order)
    opens = now + answer_within
    tally, sealed = inquiry.inquire(
        cards,
        shown_before_a_yes(charter, order).encode(),
        charter.encode(),
        check_url(url).encode(),
        opens,
        opens + collect_within,
    )
    texts = [_PREFIX + base64.urlsafe_b64encode(one).decode().rstrip("=") for one in sealed]
    return check_digits(tally.handle), texts


def receive(vault: Vault, key: CardKey, text: str, now: int) -> Held:
    """Keeps an inquiry; again is harmless. Raises UserError for what is none for this card, or over."""
    text = "".join(text.split())
    body = text.removeprefix(_PREFIX)
    if not text.startswith(_PREFIX) or len(text) > MAX_TEXT:
        raise UserError("this is not an inquiry")
    try:
        sealed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        found = inquiry.Inquiry.open_with(key, sealed)
        charters.decode(found.rules)
        url = check_url(found.address.decode())
    except (CryptoError, charters.CharterErrors, binascii.Error, ValueError):
        raise UserError(
            "this inquiry cannot be opened here: it is damaged, or is for another card than this device's"
        ) from None
    tally = found.tally
    if tally.closes <= now:
        raise UserError("this inquiry is over")
    held = next((one for one in all(vault) if one.handle == tally.handle), None)
    if held is not None:
        return held
    made = dealt.prepare(tally, found.share)
    moment = random.SystemRandom().randint(tally.opens, (tally.opens + tally.closes) // 2)
    with vault.transaction():
        vault.execute(
            "INSERT INTO inquiry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            tally.handle,
            url,
            tally.encode(),
            found.rules,
            found.sealed_names,
            made.encode(),
            moment,
            UNKNOWN,
            tally.closes + _KEPT,
        )
    return _by_handle(vault, tally.handle)


def all(vault: Vault) -> list[Held]:  # noqa: A001 -- read as inquiries.all
    """Every inquiry of this vault."""
    rows = vault.rows(
        "SELECT handle, url, tally, rules, names, secret, moment, result FROM inquiry ORDER BY moment"
    )
    return [_held(row) for row in rows]


def answer(vault: Vault, handle: bytes, now: int, *, yes: bool) -> None:
    """A person's word: it stays in the vault. A yes can be taken back, a no cannot. Raises UserError."""
    held = _by_handle(vault, handle)
    if not held.secret or now >= held.tally.opens:
        raise UserError("the time to answer is over")
    kept = Answer.decode(held.secret)
    if kept.given and yes:
        raise UserError("you have answered this already: you can still take it back, by answering no")
    made = crypto.answered(held.tally, kept, [yes]).encode()
    with vault.transaction():
        vault.execute("UPDATE inquiry SET secret = ? WHERE handle = ?", made, handle)
    vault.empty_journal()


def purge(vault: Vault, now: int) -> int:
    """Erases what is over; in a transaction. Returns how many."""
    return vault.execute("DELETE FROM inquiry WHERE expires_at <= ?", now)


async def visit(vault: Vault, connect: Connect, now: int) -> list[Held]:
    """What this device owes each inquiry's service now; returns all of them as they stand.

    The same whatever was answered. Raises Unreachable or Refused once it has tried all of them.
    """
    failed: PourparlerError | None = None
    for held in all(vault):
        closes = held.tally.closes
        try:
            if held.secret and held.moment <= now < closes:
                await _hand_in(vault, connect, held)
            elif held.secret and now >= closes:
                _save(vault, held.handle, MISSED)
                vault.empty_journal()
            elif now >= closes and held.result == UNKNOWN:
                await _ask(vault, connect, held)
        except (Unreachable, Refused) as error:  # the others may be at another service
            failed = error
    if failed is not None:
        raise failed
    return all(vault)


async def _hand_in(vault: Vault, connect: Connect, held: Held) -> None:
    kept = Answer.decode(held.secret)
    async with connect(held.url, None) as api:
        await api.open_tally(held.tally.encode())
    try:
        async with connect(held.url, None) as api:
            await api.hand_in(held.handle, kept.token, kept.ready)
        async with connect(held.url, None) as api:
            told = await api.tally(held.handle)
    except Refused as refusal:
        if refusal.problem not in (Problem.MALFORMED, Problem.NOT_FOUND):  # by its clock too early: next time
            raise
        return
    if told.answer is wire.TallyAnswer.OPEN:
        with vault.transaction():
            vault.execute("UPDATE inquiry SET secret = x'' WHERE handle = ?", held.handle)
        vault.empty_journal()


async def _ask(vault: Vault, connect: Connect, held: Held) -> None:
    try:
        async with connect(held.url, None) as api:
            told = await api.tally(held.handle)
    except Refused as refusal:
        if refusal.problem is not Problem.NOT_FOUND:
            raise
        told = wire.Tally(answer=wire.TallyAnswer.LOST)
    if told.answer is wire.TallyAnswer.OPEN:
        return
    names = _names(held, told)
    if names is None:
        _save(vault, held.handle, NOT_ALL)
        return
    with vault.transaction():
        vault.execute("UPDATE inquiry SET rules = ?, result = ? WHERE handle = ?", names, ALL, held.handle)


def _names(held: Held, told: wire.Tally) -> bytes | None:
    """The whole charter, if everybody said yes and the intermediary has sealed one under that."""
    if told.package is None or told.value is None:
        return None
    try:
        names = inquiry.names_of(held.tally, held.names, Counted(told.package, told.value))
        if names is not None:
            charters.decode(names)
    except (CryptoError, charters.CharterErrors):
        return None
    return names


def _save(vault: Vault, handle: bytes, result: int) -> None:
    with vault.transaction():
        vault.execute("UPDATE inquiry SET result = ?, secret = x'' WHERE handle = ?", result, handle)


def _by_handle(vault: Vault, handle: bytes) -> Held:
    row = vault.row(
        "SELECT handle, url, tally, rules, names, secret, moment, result FROM inquiry WHERE handle = ?", handle
    )
    if row is None:
        raise UserError("this inquiry is not in the vault")
    return _held(row)


def _held(row: tuple[bytes, str, bytes, bytes, bytes, bytes, int, int]) -> Held:
    handle, url, tally, rules, names, secret, moment, result = row
    return Held(handle, url, Tally.decode(tally), charters.decode(rules), names, secret, moment, result)
