"""Every number with which the core bounds what strangers and members can make it do.

They are not in RFC 9420, so all clients of a group must share them: a message that one accepts and another refuses
would split the group.
"""

# bytes. A Welcome of the hybrid suite with 128 members and the tree inside has 334 kB.
MAX_MESSAGE = 4 * 1024 * 1024

# leaves, a power of two. A ratchet_tree of blanks costs one byte a node on the wire and far more in memory.
MAX_LEAVES = 4096

# generations. A device that was offline skips what expired meanwhile; 4096 steps take about 10 ms.
MAX_FORWARD = 4096

# message keys kept for each ratchet for messages that are late; the oldest go first. 128 take 8 kB at most.
MAX_SKIPPED = 128

# epochs. A resumption PSK is a secret of a past epoch, so only a few are kept (RFC 9420, 8.6).
MAX_RESUMPTION_PSKS = 16

# proposals by reference kept in an epoch; members are at most MAX_LEAVES, honest groups use a handful.
MAX_PROPOSALS = 1024

# pre-shared keys in one commit or Welcome; PSKLabel counts them in 16 bits (RFC 9420, 8.4), nobody needs as many.
MAX_PSKS = 1024

# The last epoch that a commit may begin: epochs are counted in 64 bits, and nothing follows the last.
MAX_EPOCH = 2**64 - 1

# seconds. The longest lifetime of a KeyPackage that this client uses (RFC 9420, 7.2 asks for a maximum): a year.
MAX_LIFETIME = 366 * 24 * 3600

# bytes that one call of the exporter may give: 255 blocks of the shorter hash (RFC 5869).
MAX_EXPORT = 255 * 32
