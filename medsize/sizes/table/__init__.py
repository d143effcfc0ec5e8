"""Size tables: from the cells of a spreadsheet to the sizes of each scan."""
