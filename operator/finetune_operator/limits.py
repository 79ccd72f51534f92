"""How often somebody may do something: a steady rate, and a burst for those who were quiet before."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

MAX_KEYS = 16_384


class RateLimit:
    """One allowance for each key. Of very many keys the ones longest unused begin anew."""

    def __init__(self, *, per_second: float, burst: int, monotonic: Callable[[], float]) -> None:
        self._interval = 1 / per_second
        self._ahead = (burst + 0.5) / per_second  # a half more: sums of intervals are not exact
        self._monotonic = monotonic
        self._due: OrderedDict[Hashable, float] = OrderedDict()
        """When the key's whole burst is there again."""

    def take(self, key: Hashable) -> bool:
        """Whether the key may go on; that it did is counted only then."""
        now = self._monotonic()
        due = max(self._due.pop(key, now), now)
        is_allowed = due + self._interval <= now + self._ahead
        self._due[key] = due + self._interval if is_allowed else due
        if len(self._due) > MAX_KEYS:
            self._due.popitem(last=False)
        return is_allowed

    def give_back(self, key: Hashable) -> None:
        """Undo one `take`."""
        if key in self._due:
            self._due[key] -= self._interval
