"""Readers of the formats in which other programs, and reports, hold measurements."""
