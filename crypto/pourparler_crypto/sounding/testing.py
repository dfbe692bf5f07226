"""For tests: parties of a sounding without a dealer, up to where persons answer. No product code imports this."""

from typing import Final

from . import About, Tally, answered, common

OPENS, CLOSES = 1_800_000_000, 1_800_000_600  # Unix seconds
AGREED: Final = b"a" * 32


class Table:
    """Parties that have registered, and what each keeps; their lists may be spoilt."""

    def __init__(self, parties: int, packages: int = 1, agreed: bytes = AGREED) -> None:
        self.about = About(agreed, parties, packages)
        self.begun = [common.begin(self.about, party) for party in range(1, parties + 1)]
        self.commitments = [one.commitment(self.about) for one in self.begun]
        self.openings = [one.opening() for one in self.begun]
        self.tally = self.register()
        self.answers = [common.prepare(self.about, one, self.tally, self.openings) for one in self.begun]

    def register(self) -> Tally:
        """The tally. Raises Unregistered."""
        return common.registered(self.about, self.commitments, self.openings, OPENS, CLOSES)

    def says(self, *words: bool | tuple[bool, ...] | None) -> list[bytes]:
        """What is in every slot after these words; None: nobody came."""
        rows = []
        for answer, word in zip(self.answers, words, strict=True):
            if word is None:
                rows.append(self.tally.filling())
                continue
            each = word if isinstance(word, tuple) else (word,) * self.about.packages
            rows.append(answered(self.tally, answer, each).ready)
        return rows

    def result(self, rows: list[bytes]) -> int | None:
        """What all accept, when this is in the slots."""
        return self.tally.common(self.tally.counted(rows))
