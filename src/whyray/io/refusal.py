"""The one exception inside io: a reason and a remedy in our own words; ``load.py`` makes it an InputError."""

from __future__ import annotations

AGAIN = "export or copy it again"


class Malformed(Exception):
    """A file that is refused; neither text may hold a value of the file or a parser's message."""

    def __init__(self, reason: str, remedy: str = AGAIN) -> None:
        self.reason, self.remedy = reason, remedy
        super().__init__(reason)
