"""Preparation of public data sets: one runnable module for each source."""
