"""Looks for stop strings in text that comes in pieces. Knows no tokens.

One Knuth-Morris-Pratt automaton a stop string: its state is how much of the string the text now ends with.
"""

from collections.abc import Sequence


class StopStrings:
    """Passes text on up to the first stop string. Holds back only what may yet become one: the longest end of the
    text that begins a stop string.

    The match that ends first wins, and of several that end together the longest: so the outcome does not depend on
    how the text is cut into pieces.
    """

    __slots__ = ("_automata", "_first_characters", "_held", "_include", "_met", "_states")

    def __init__(self, stops: Sequence[str], include: bool = False) -> None:
        """`include`: whether the stop string itself is passed on. Raises ValueError for an empty stop string."""
        if "" in stops:
            raise ValueError("a stop string must not be empty")
        # Longest first: the first automaton to report is the longest match.
        self._automata = [(stop, _failures(stop)) for stop in sorted(set(stops), key=len, reverse=True)]
        self._first_characters = "".join({stop[0] for stop in stops})
        self._states = [0] * len(self._automata)
        self._include = include
        self._held = ""
        self._met: str | None = None

    def feed(self, text: str) -> tuple[str, str | None]:
        """(text that may be sent, the stop string that was met or None). After a match nothing more is sent."""
        if self._met is not None:
            return "", self._met
        if not self._held and not any(first in text for first in self._first_characters):
            return text, None
        for index, character in enumerate(text):
            stop = self._advance(character)
            if stop is not None:
                return self._finish(text[: index + 1], stop), stop
        text = self._held + text
        sendable = len(text) - max(self._states)
        self._held = text[sendable:]
        return text[:sendable], None

    def flush(self) -> str:
        """The text held back, when no more text comes."""
        held, self._held = self._held, ""
        self._states = [0] * len(self._states)
        return held

    def _advance(self, character: str) -> str | None:
        """Takes one character into every automaton; the longest stop string that it completes."""
        states = self._states
        for number, (stop, failures) in enumerate(self._automata):
            state = states[number]
            while state and stop[state] != character:
                state = failures[state - 1]
            if stop[state] == character:
                state += 1
                if state == len(stop):
                    return stop
            states[number] = state
        return None

    def _finish(self, text: str, stop: str) -> str:
        text = self._held + text
        self._held, self._met = "", stop
        return text if self._include else text[: -len(stop)]


def _failures(stop: str) -> list[int]:
    """failures[i]: the length of the longest proper prefix of `stop` that `stop[:i + 1]` also ends with."""
    failures = [0] * len(stop)
    length = 0
    for index in range(1, len(stop)):
        while length and stop[index] != stop[length]:
            length = failures[length - 1]
        if stop[index] == stop[length]:
            length += 1
        failures[index] = length
    return failures
