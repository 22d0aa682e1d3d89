"""``python -m facemark.cli``."""

from facemark.cli import app

app()
