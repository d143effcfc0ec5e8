"""Run the command line: ``python -m medsize.cli``."""

from medsize.cli import app

if __name__ == "__main__":
    app()
