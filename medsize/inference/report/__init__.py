"""Report of predictions: a table and a page, with intervals and flags."""
