"""An event of a later version halts an older one; nothing of it is lost when that one has been updated."""

import pytest

from pourparler_clients import log
from pourparler_clients.errors import Halted
from pourparler_clients.store import State
from pourparler_clients.testing import House
from pourparler_policies.errors import Unknown


@pytest.mark.parametrize("where", ["decode_application", "decode"])
async def test_unknown_event_halts_and_is_read_by_the_version_that_knows_it(
    where: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say("known")
    await (ada.say("new") if where == "decode_application" else ada.channel.refresh_keys())
    await ada.say("later")

    def older(data: bytes) -> object:
        if where == "decode_application" and b'"new"' not in data:
            return known(data)
        raise Unknown("an event of another release")

    known = getattr(log.payload, where)
    with monkeypatch.context() as older_version:
        older_version.setattr(log.payload, where, older)
        assert [h.kind for h in await ben.sync()][-1] == "halted"
        with pytest.raises(Halted, match="update it"):
            await ben.say("not now")
        ben = await house.again(ben)
        assert ben.state is State.HALTED
        ben.log.resume()  # too soon: it halts again, and still nothing is lost
        await ben.sync()
        assert ben.state is State.HALTED
    ben.log.resume()
    await ben.sync()
    assert ben.state is State.OPEN
    assert ben.texts() == (["known", "new", "later"] if where == "decode_application" else ["known", "later"])
    await ben.say("heard")
    await ada.sync()
    assert ada.texts()[-1] == "heard"
