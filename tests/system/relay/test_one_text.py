"""Two sides that share no channel publish one text, which an intermediary carried between them."""

import pytest

from pourparler_clients.errors import UserError
from pourparler_clients.onetext_testing import shuttle_room
from pourparler_clients.signing_testing import Hours
from pourparler_clients.testing import House
from pourparler_crypto.note import Note
from pourparler_policies.release.device import Stage


async def test_a_text_is_signed_across_two_channels_and_verifies_on_both_sides(house: House, hours: Hours) -> None:
    talks = await shuttle_room(house, hours)
    await talks.ready()
    await talks.sign()
    await talks.published()
    north, south = talks.notes()
    assert north == south
    note = Note.parse(north[0])
    note.check()
    assert [one.key for one in note.communique.foot.signatories] == talks.keys
