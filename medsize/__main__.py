"""Run the command line: ``python -m medsize``."""

from medsize.cli import app

app(prog_name="medsize")
