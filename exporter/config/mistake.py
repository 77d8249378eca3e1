"""A problem of a config file, as a value; packages above report theirs in the same form.

Rule 1: imports nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the path of the field (`targets[0] (staging).interval`) and a sentence that says what to do."""

    path: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}: {self.sentence}" if self.path else self.sentence
