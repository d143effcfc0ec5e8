"""Plausibility of a cohort: wrong units, outliers, and scans that occur twice."""
