"""When what a process knows no longer agrees with what is stored, it must end, and begin again from what is stored."""

import asyncio
import logging

_log = logging.getLogger("pourparler.service")


class Breakage:
    """Found by whoever writes, watched for by the service. On the event loop."""

    def __init__(self) -> None:
        self._found: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def found(self, error: Exception) -> None:
        """Something durable could not be shown."""
        _log.error("what was stored could not be shown: %s", type(error).__name__)
        if not self._found.done():
            self._found.set_exception(error)
            self._found.exception()  # the service may be ending already

    async def watch(self) -> None:
        """Raises what was found, when it is."""
        await asyncio.shield(self._found)
