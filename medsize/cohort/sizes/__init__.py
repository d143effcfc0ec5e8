"""Sizes of a cohort's scans: from a size table, from masks, or from measurements that exist already."""
