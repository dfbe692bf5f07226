"""The list of every rule for `docs/charter.md`, made from the schema; a test compares them."""

from . import schema
from .questionnaire import questions

_SECTIONS = ("parties", "intermediaries", "cards", "reporting")
_MARKS = ("<!-- keys -->", "<!-- end -->")


def keys() -> str:
    """Every key with its default, as Markdown."""
    rows = ["| rule | what it says | if left out |", "| --- | --- | --- |"]
    found = questions() + [
        type(question)(f"{section}.{question.key}", question.text, question.default)
        for section in _SECTIONS
        for question in questions(section)
    ]
    optional = {
        f"{section}.{key.name}" for section, keys in schema.SECTIONS.items() for key in keys if key.default == 0
    }
    for question in found:
        default = "no such rule" if question.key in optional and question.default == "0" else question.default
        rows.append(f"| `{question.key}` | {question.text} | {f'`{default}`' if default else 'an error'} |")
    return "\n".join(rows)


def fill(text: str) -> str:
    """The guide with its list of keys as the code has it."""
    before, start, rest = text.partition(_MARKS[0])
    _, end, after = rest.partition(_MARKS[1])
    return f"{before}{start}\n{keys()}\n{end}{after}" if start and end else text
