"""``python -m whyray`` is ``whyray``."""

from .cli import main

main()
