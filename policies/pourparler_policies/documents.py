"""Tables of the code as parts of a document in Markdown: what both folds make of theirs."""

from collections.abc import Callable, Mapping, Sequence


def table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table; every row has as many cells as there are heads."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def fill(text: str, blocks: Mapping[str, Callable[[], str]]) -> str:
    """A document with each part between `<!-- name -->` and `<!-- end -->` replaced by what its block makes."""
    for name, make in blocks.items():
        before, mark, rest = text.partition(f"<!-- {name} -->")
        if mark:
            _, end, after = rest.partition("<!-- end -->")
            text = f"{before}{mark}\n{make()}\n{end}{after}"
    return text
