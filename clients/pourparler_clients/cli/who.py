"""`who`: the seats of a channel, who is attested, and digits to compare by voice."""

import argparse
from typing import Any, Final

from pourparler_crypto.card import check_digits
from pourparler_policies.fold.facts import Device, Phase

from ..channel import Channel
from ..log import Log
from ..subjects import body_name
from .common import emit, local_time, plain
from .showing import name_of

_STANDING: Final = {
    Phase.EXPECTED: "approved, has not come yet",
    Phase.LOBBY: "not attested yet: nothing is said meanwhile",
    Phase.PRESENT: "attested",
    Phase.AWAY: "away; can come back",
    Phase.RETURNING: "has come back, not attested yet",
    Phase.STRANDED: "cannot follow; has to be invited anew",
    Phase.HOLDING: "on hold",
    Phase.HELD: "on hold",
    Phase.LEAVING: "leaving",
}


async def who(arguments: argparse.Namespace, channel: Channel) -> None:
    """Shows it."""
    log = channel.log
    records, lines = [], [f"“{plain(log.charter.title, lines=False)}”, {log.row.state}"]
    for device in sorted(
        log.consent.devices.values(), key=lambda one: (log.consent.seats[one.seat].body, one.card)
    ):
        record, line = _place(log, device)
        records.append(record)
        lines.append(line)
    epoch_digits = log.epoch_digits()
    lines += [
        f"Digits of the channel as of {local_time(log.row.received_at)}: {epoch_digits}",
        f"Digits of the charter: {check_digits(log.charter.hash)}",
        "Attested: that device has the key of that card. Whose card it is, only people can tell: compare each card's",
        "digits with its owner, by a way you trust; then the channel's digits, which are the same on every device, or",
        "somebody is shown another channel.",
    ]
    if log.row.trouble:
        lines.append(f"ATTENTION: {log.row.trouble}")
    record = {
        "title": log.charter.title,
        "state": log.row.state,
        "trouble": log.row.trouble,
        "members": records,
        "channel_digits": epoch_digits,
        "charter_digits": check_digits(log.charter.hash),
    }
    emit(arguments, record, lines)


def _place(log: Log, device: Device) -> tuple[dict[str, Any], str]:
    seat = log.consent.seats[device.seat]
    member = next((m for m in log.members.values() if m.fingerprint == device.card), None)
    own = log.consent.devices.get(log.own_card.fingerprint)
    you, met = device.card == log.own_card.fingerprint, own is not None and device.card in own.met
    record = {
        "name": member.name if member else "",
        "check_digits": check_digits(device.card),
        "you": you,
        "body": seat.body,
        "role": seat.role,
        "phase": device.phase,
        "attested_by_you": met,
    }
    name = name_of(member, log.members) if member else "(not here)"
    mark = " (this device)" if you else " (attested by you)" if met else ""
    place = f"{plain(body_name(log.charter, seat.body), lines=False)}, {seat.role}"
    return record, f"  {place}: {name}{mark}: {_STANDING[device.phase]}; card {check_digits(device.card)}"
