"""Why a peer is not measured."""


class Absent(Exception):
    """The peer is not installed on this machine; the text says what to install."""
