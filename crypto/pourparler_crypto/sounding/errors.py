"""What can go wrong in a sounding, in the two families of `pourparler_crypto.errors`.

    UsageError            the caller misused us
    ProtocolError         the other side misbehaved
    ├── Malformed             no honest client sends these bytes
    ├── Unregistered          a message in the name of `party` (1..n) does not fit: the sounding cannot begin
    ├── BadDeal               what the dealer handed out does not fit: do not answer it
    └── NotTheSum             the service's answer is of another sounding than was registered, or of none

A result that fits no target is no error: it is what "not all accept" looks like, and also what a decline, a device
that was away, a wrong share of the dealer and a service that lies look like. Nobody can tell these apart.
"""

from pourparler_crypto.errors import ProtocolError


class Unregistered(ProtocolError):
    """A commitment or opening in the name of ``party`` fails a check; who carried it may have altered it."""

    def __init__(self, party: int, what: str) -> None:
        super().__init__(f"party {party}: {what}. This does not prove that party {party} did it")
        self.party = party


class BadDeal(ProtocolError):
    """The dealer is at fault: a share, a list or a target is not what a dealer who follows the rules hands out."""


class NotTheSum(ProtocolError):
    """An answer about packages that were not sounded, or of a form that no sum has: the service is at fault."""
