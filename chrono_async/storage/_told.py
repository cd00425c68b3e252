"""
What is wrong with what is stored, said once: whoever looks again at each poll would say so for ever.
"""

import logging

_log = logging.getLogger("chrono_async")

_MOST = 1000


class Told:
    """Logs each text once, as long as it remembers the text."""

    def __init__(self) -> None:
        self._texts: set[str] = set()

    def warning(self, text: str) -> None:
        """Log a warning."""
        self._tell(logging.WARNING, text)

    def error(self, text: str) -> None:
        """Log an error."""
        self._tell(logging.ERROR, text)

    def _tell(self, level: int, text: str) -> None:
        if text in self._texts:
            return
        if len(self._texts) >= _MOST:
            self._texts.clear()
        self._texts.add(text)
        _log.log(level, "%s", text)
