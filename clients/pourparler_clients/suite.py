"""The MLS cipher suite of every channel of this version (DESIGN 4.2): post-quantum hybrid."""

from typing import Final

from pourparler_crypto.mls import SUITE_PQ

SUITE: Final = SUITE_PQ
