"""Where letters are kept, and in which words the commands speak of them."""

from dataclasses import dataclass

from tropism.runtime import dead


@dataclass(frozen=True, slots=True)
class Shelf:
    """A kind of letters: its place in the state, its name in JSON, and the command that looks after it."""

    namespace: str
    noun: str
    plural: str
    key: str
    command: str
    verb: str
    done: str

    def count(self, number: int) -> str:
        """Return so many, in words."""
        return f"1 {self.noun}" if number == 1 else f"{number} {self.plural}"


DEAD = Shelf(
    dead.NAMESPACE, "dead letter", "dead letters", "dead_letters", "dead-letters", "redrive", "redriven"
)

QUARANTINE = Shelf(
    dead.QUARANTINE,
    "event in quarantine",
    "events in quarantine",
    "quarantined",
    "quarantine",
    "release",
    "released",
)
