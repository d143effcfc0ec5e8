"""Fuzzing of ``medsize init``: random mutations of small cohorts in every format that it reads."""
