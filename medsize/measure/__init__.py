"""Sizes that people read off scans on a page: ``medsize measure``."""
