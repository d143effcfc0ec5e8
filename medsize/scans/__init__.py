"""Scans and masks as hospitals and other programs keep them."""
