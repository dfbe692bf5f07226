"""The charter: ground rules that every party accepted, which people can read and every device applies.

`parse` reads a text with all its errors, `Charter.hash` is what approvals and the group context name,
`explain` says
in plain words what it means for somebody, `questionnaire` makes a text out of answers, `presets` are texts to
start from.
"""

from .canonical import decode
from .document import Charter
from .explaining import explain, reporting
from .reading import CharterErrors, Error, parse

__all__ = ["Charter", "CharterErrors", "Error", "decode", "explain", "parse", "reporting"]
