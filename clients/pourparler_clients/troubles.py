"""Why a channel is in alarm or halted on this device: each a sentence or two for the person, with what to do."""

OLD_COPY = (
    "this vault is an older copy: another copy of it has been used since. Nothing more is sent from here; "
    "use the newer copy, or clear this one and ask to be seated again"
)
SET_BACK = (
    "the service has lost entries that it had accepted (restored from a backup?). Nothing more is sent from here; "
    "ask the others what they see, and the operator what happened"
)
FORKED = (
    "the service shows you another course of events than it shows others. Nothing more is sent from here; compare "
    "the channel's digits (`pourparler who`) with the others by voice"
)
UNPROCESSABLE = (
    "a change of the channel's keys cannot be opened on this device, though others may open it. "
    "The others are told so; ask one of them to invite your card again"
)
RESTORED = (
    "the service was restored from a backup: messages may be missing here that others have. Ask them what they "
    "see, then go on with `pourparler resume`"
)
UNKNOWN = "the channel holds something that this version of Pourparler does not know: update it, then go on"
TOLD_OTHERWISE = "it was told another course of events than yours: remove it, and let somebody else invite it"
IMPOSTOR = (
    "somebody was seated with this device's card who is not this device. Nothing more is sent from here; tell the "
    "others, by a way you trust"
)
