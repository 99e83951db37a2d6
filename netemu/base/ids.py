"""Names made up by netemu. Knows alphabets; the caller brings the chance."""

from typing import Protocol

# Kubernetes' k8s.io/apimachinery/pkg/util/rand: no vowels and none of 0 1 3, so that no words appear.
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class Chance(Protocol):
    """The part of `random.Random` that is needed."""

    def randrange(self, stop: int, /) -> int: ...


def suffix(rng: Chance, n: int = 5) -> str:
    """The end of a generated name, as generateName and ReplicaSets add it."""
    return "".join(ALPHABET[rng.randrange(len(ALPHABET))] for _ in range(n))
