"""Who may speak: bearer tokens, compared as SHA-256, and the pace that each may keep.

A token is looked up by its hash, and the hash compared in constant time; since only hashes of 32 random bytes are
compared, timing tells a guesser nothing. No such channel, no such token, ended token: one and the same refusal.
Who names a channel that was closed not long ago learns that, whatever the token: all tokens are gone with it.
"""

import base64
import binascii
import hashlib
import hmac
from typing import NamedTuple

from starlette.requests import HTTPConnection

from pourparler_policies.limits import DAY, ID_BYTES, TOKEN_BYTES
from pourparler_policies.wire import Problem

from . import acts
from .caps import Caps
from .paces import spend
from .problems import Refusal, unauthorized
from .settings import Settings
from .state import ChannelState, DeviceState, Registry
from .writer import Writer


def unpad(text: str, size: int) -> bytes | None:
    """`size` bytes from base64url with or without padding, in its one canonical form; None when it is none."""
    if len(text) > size * 2:
        return None
    bare = text.rstrip("=")
    try:
        found = base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(found) != size or base64.urlsafe_b64encode(found).decode().rstrip("=") != bare:
        return None
    return found


def bearer(request: HTTPConnection) -> bytes:
    """The 32 bytes of the Authorization header. Raises Refusal."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    token = unpad(text, TOKEN_BYTES) if scheme.lower() == "bearer" else None
    if token is None:
        raise unauthorized()
    return token


def path_id(request: HTTPConnection, name: str) -> bytes | None:
    """An id that stands in the path; None when it is not of an id's form, so cannot exist."""
    return unpad(request.path_params[name], ID_BYTES)


class Caller(NamedTuple):
    """Whose request it is."""

    channel: ChannelState
    device: DeviceState
    token: bytes


class Gate:
    """Lets a device's requests in."""

    def __init__(self, settings: Settings, registry: Registry, writer: Writer) -> None:
        self._settings, self._registry, self._writer = settings, registry, writer

    async def admit(self, request: HTTPConnection, *, fresh: bool = True) -> Caller:
        """Find the device that asks. Raises Refusal: unauthorized, closed, or budget when it asks too fast.

        What another process changed is known, unless `fresh` is False: then whoever changes something looks again.
        """
        token = bearer(request)
        channel_id = path_id(request, "channel")
        if channel_id is None:
            raise unauthorized()
        hashed = hashlib.sha256(token).digest()
        find = self._registry.fresh if fresh else self._registry.find
        channel = await find(channel_id)
        if not fresh and (channel is None or hashed not in channel.by_token):
            channel = await self._registry.fresh(channel_id)
        if channel is None:
            if await self._registry.is_closed(channel_id):
                raise Refusal(Problem.CLOSED)
            raise unauthorized()
        device = channel.by_token.get(hashed)
        if device is None or not hmac.compare_digest(device.token_hash, hashed):
            raise unauthorized()
        now = self._settings.clock()
        if device.idle_since_too_long(now, channel.absence_limit):
            device.last_day = max(device.last_day, await self._registry.last_day(device))
            if device.ended or device.idle_since_too_long(now, channel.absence_limit):
                raise unauthorized()
        _pace(device, now, self._settings.caps)
        self.used(device, now)
        return Caller(channel, device, token)

    def used(self, device: DeviceState, now: float) -> None:
        """Note the day of use, when it is a new one."""
        day = int(now) // DAY
        if day > device.last_day and not device.ended:
            device.last_day = day
            self._writer.submit(acts.touch(device, day)).add_done_callback(lambda done: done.exception())


def _pace(device: DeviceState, now: float, caps: Caps) -> None:
    """Spend one of the device's requests; they come back at `requests_rate` a second."""
    device.requests_at = min(device.requests_at, now)  # the clock may have been set back: count from there
    seconds = now - device.requests_at
    device.requests = spend(
        device.requests, seconds, 1 / caps.requests_rate, caps.requests_burst, "This device asks too often."
    )
    device.requests_at = now
