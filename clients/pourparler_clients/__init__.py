"""SDK and command line: all end-to-end work happens here."""
