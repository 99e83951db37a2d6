"""How long to wait before the next attempt. Knows one attempt after another; knows no clock and no chance."""


class Backoff:
    """Exponential: `initial`, then `factor` times as long each time, at most `limit` seconds."""

    def __init__(self, initial: float, factor: float = 2.0, limit: float = 60.0) -> None:
        self._initial = initial
        self._factor = factor
        self._limit = limit
        self._following = initial

    def next(self) -> float:
        """Seconds to wait now."""
        current = min(self._following, self._limit)
        self._following = min(current * self._factor, self._limit)
        return current

    def reset(self) -> None:
        """It went well: begin again."""
        self._following = self._initial
