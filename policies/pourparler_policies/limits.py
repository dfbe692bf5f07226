"""Sizes and lifetimes that every implementation of the protocol shares. An operator may lower, never raise them.

Each number has its unit in its name or beside it, and its reason.
"""

from typing import Final

KIB: Final = 1024  # bytes

# Sealed entries and box deposits have one of these sizes, so that a size says little. A short message is
# about 500 bytes of MLS framing and text; a commit with Add in a PQ group of 60 about 90 KiB.
BUCKETS: Final = (1 * KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, 512 * KIB)  # bytes
# A PQ Welcome for 128 devices with its tree is 334 kB; JSON and base64 add a third.
MAX_SEALED: Final = BUCKETS[-1]  # bytes
MAX_REQUEST_BODY: Final = 2 * (MAX_SEALED * 4 // 3) + 4 * KIB  # bytes: an append holds a commit and a Welcome
MAX_PAGE_ENTRIES: Final = 512  # entries a page
MAX_PAGE_BYTES: Final = 4 * 1024 * KIB  # bytes of sealed data a page; at least one entry always fits

ID_BYTES: Final = 16  # channel, device, entry, box: random, so guessing one is hopeless
TOKEN_BYTES: Final = 32  # bearer secrets
HASH_BYTES: Final = 32  # SHA-256 of a bearer secret

MINUTE: Final = 60  # seconds
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
MIN_LIFE: Final = 1  # seconds an entry lives at least: long enough to be delivered to who listens
MAX_LIFE: Final = 400 * DAY  # seconds: procedure entries live for the absence limit, which may be a year
MAX_BOX_LIFE: Final = 14 * DAY  # seconds an invitation may wait
BOX_SLOTS: Final = 4  # answer, terms, acceptance, welcome (the two legs of an invitation)

# A key half is destroyed at its end, a round instant; a text's end is the first one after its expiry. So these are
# also how much later than its life a stored text may still open: seconds, by what it lives at least (`hours`).
SHORT_STEP: Final = 10  # seconds, for lives below an hour
MIDDLE_STEP: Final = MINUTE  # for lives below a day
LONG_STEP: Final = HOUR  # for all others: the service learns no more than hours, and a year has few of them
HALF_BYTES: Final = 32
MAX_HALVES: Final = 1440  # halves a request: a day of minutes, or sixty days of hours

# An attachment has one of these sizes, so that a size says little; a file is padded to the next. The largest holds
# 100 MiB with what sealing adds (7.4 kB).
ATTACHMENT_CHUNK: Final = 256 * KIB  # bytes: what is sent, stored and opened at a time; a minute at 4 KB/s
ATTACHMENT_SIZES: Final = (
    *(64 * KIB * 2**n for n in range(11)),
    101 * KIB * KIB,
)  # bytes: 64 KiB to 64 MiB, 101 MiB
MAX_CHUNKS: Final = ATTACHMENT_SIZES[-1] // ATTACHMENT_CHUNK

# Commits and procedure events. Whoever seats somebody proposes, approves, adds and attests: four, with a few tries.
HANDSHAKE_BURST: Final = 12  # handshakes a device may post at once ...
HANDSHAKE_REFILL: Final = 10  # seconds until it may post one more: nobody can starve the others

# A round of ideas (DESIGN 4.4). They are those of `pourparler_crypto.idea` and `ideas.facts`; a test compares.
IDEA_PACKET: Final = 4 * KIB  # bytes of every packet, with or without an idea
MAX_PLACES: Final = 96  # packets in one round: three of each of 32 seats
MAX_WINDOW: Final = HOUR  # seconds that a round takes packets
MAX_AHEAD: Final = DAY  # seconds before its tick that room is made for a round

# The desk (DESIGN 6.3). The sizes are those of `pourparler_crypto.jr2`; a test compares them.
MAX_CASE: Final = 200 * KIB  # bytes of a case: 32 parties with 32 texts have about 68,000
BUNDLES: Final = (4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, 512 * KIB)  # bytes of a sealed bundle
MAX_DEPOSIT: Final = 18 + 32 * 32 + 32  # bytes: y of 32 texts with rho
MAX_SIGNERS: Final = 32
MAX_NOTES: Final = 32  # texts that are published together: one copy for each party
ANSWER_LIFE: Final = 30 * DAY  # seconds after its not-before time that the desk repeats a case's answer
BOARD_PAGE: Final = 50  # communiqués on one page of the board's list

# Tallies of soundings (DESIGN 4.5). The sizes are those of `pourparler_crypto.sounding`; a test compares them.
MAX_TALLY: Final = 4 * KIB  # bytes: 32 sides and 8 packages take 1,600
MAX_PACKAGES: Final = 8
MAX_VALUES: Final = 32 * MAX_PACKAGES  # bytes of what one device hands in

MAX_SEQ: Final = 2**53 - 1  # what JSON numbers carry exactly


def chunk_of(size: int) -> int:
    """How large each chunk of an attachment of `size` bytes is, in bytes."""
    return min(size, ATTACHMENT_CHUNK)
