"""A progress bar over runs that says how much time is left."""

from __future__ import annotations

from collections.abc import Sequence

from tqdm import tqdm

from filterwise.runs import cost


class Bar:
    """A progress bar that says how much time is left, from estimates corrected by what runs really took."""

    def __init__(self, hopes: Sequence[float], workers: int, text: str, show: bool) -> None:
        self.left = dict(enumerate(hopes))
        self.workers = workers if workers > 0 else 1
        self.hoped = self.taken = 0.0
        self.bar = tqdm(
            total=len(hopes), desc=text, disable=not (show and hopes), unit="run", dynamic_ncols=True
        )
        self.say()

    def done(self, index: int, seconds: float | None) -> None:
        """An item ended, after so many seconds of its worker (``None``: it failed)."""
        hope = self.left.pop(index, 0.0)
        if seconds:
            self.hoped, self.taken = self.hoped + hope, self.taken + seconds
        self.bar.update()
        self.say()

    def remaining(self) -> float:
        """Seconds until the last item ends."""
        correction = self.taken / self.hoped if self.hoped else 1.0
        longest = max(self.left.values(), default=0.0)
        return correction * max(sum(self.left.values()) / self.workers, longest)

    def say(self) -> None:
        if self.left:
            self.bar.set_postfix_str(f"about {cost.text(self.remaining())} left")

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
