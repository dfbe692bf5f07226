"""Relays that others made, doing the same work: each a server process of its own, its own wire, the same load."""

from collections.abc import Callable
from typing import Final

from ..cells import Cell, Figures, Load
from . import prosody, synapse
from .absent import Absent

PEERS: Final[dict[str, Callable[[Cell, Load], Figures]]] = {
    "Prosody": prosody.measure,
    "Synapse": synapse.measure,
}

__all__ = ["PEERS", "Absent"]
