"""Scans and masks in the formats of hospitals and other programs."""
