"""When a message counts, and when a device may show it (DESIGN 4.3.5: the lobby is a fold).

Both follow from the log alone, as of the message's place in it. A message that does not count is void for everybody;
one that counts is shown by a device only when nobody is there whom its own body has to wait for.
"""

from pourparler_policies.errors import Void

from .facts import Phase, State
from .standing import body_of, by_credential, waits_for


def check_said(state: State, credential: bytes) -> None:
    """Raises Void, with the reason, unless what this device says now counts."""
    if state.closed:
        raise Void("the channel is closed")
    if state.closing:
        raise Void("the channel is being ended for everyone: nothing is said in it any more")
    if not state.founded:
        raise Void("the channel is being founded: nothing is said before every party has somebody here")
    author = by_credential(state, credential)
    if author is None or author.phase is not Phase.PRESENT:
        raise Void("only an attested device can say something")
    if waits_for(state, body_of(state, author)):
        raise Void("somebody is in the channel who has yet to be attested, or to go")


def may_show(state: State, card: bytes) -> bool:
    """Whether the device with this card may show what is said now."""
    device = state.devices.get(card)
    return device is not None and device.phase is Phase.PRESENT and not waits_for(state, body_of(state, device))
