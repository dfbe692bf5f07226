"""Cryptography of Pourparler: bytes in, bytes out; no I/O, no clock, no database, no policy."""
