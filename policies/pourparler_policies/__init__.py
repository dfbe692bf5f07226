"""Pure decisions on plain data, and the words on the wire: no I/O, no clock, no randomness, no keys."""
