"""The tf tree as far as it was seen: parents, parts, loops, and the path between two frames."""

from __future__ import annotations

from robot_qa.errors import did_you_mean
from robot_qa.monitors.transforms import Link


class Tree:
    """Collects edges. A frame should have one parent, but what is published decides."""

    def __init__(self) -> None:
        # Child to its parents, and when each was first received.
        self._parents: dict[str, dict[str, int]] = {}
        self.frames: set[str] = set()

    def add(self, link: Link, received_ns: int) -> bool:
        """Take an edge that was received at a time; return whether it is new."""
        parent, child = link
        parents = self._parents.setdefault(child, {})
        new = parent not in parents
        parents[parent] = min(received_ns, parents.get(parent, received_ns))
        self.frames.update(link)
        return new

    def parents(self, frame: str) -> list[tuple[str, int]]:
        """Return the parents of a frame, each with when it was first received, in this order."""
        found = self._parents.get(frame, {})
        return sorted(found.items(), key=lambda item: (item[1], item[0]))

    def parts(self) -> list[list[str]]:
        """Return the frames that hang together, the largest part first."""
        part = {frame: {frame} for frame in self.frames}
        for child, parents in self._parents.items():
            for parent in parents:
                if part[child] is not part[parent]:
                    joined = part[child] | part[parent]
                    part.update(dict.fromkeys(joined, joined))
        unique = {id(frames): sorted(frames) for frames in part.values()}
        return sorted(unique.values(), key=lambda frames: (-len(frames), frames))

    def loops(self) -> list[list[str]]:
        """Return the frames of every part in which no frame is without a parent."""
        return [part for part in self.parts() if all(self._parents.get(frame) for frame in part)]

    def path(self, first: str, second: str) -> tuple[list[tuple[Link, bool]], str]:
        """Return the edges from one frame to another, and whether each is followed downwards.

        Where there is no path, or more than one, it is empty and the second part says why.
        """
        for frame in (first, second):
            if frame not in self.frames:
                return [], f'no frame "{frame}" was seen{did_you_mean(frame, self.frames)}'
        up, down = self._ancestry(first), self._ancestry(second)
        meeting = next((frame for frame in up if frame in down), None)
        if meeting is not None:
            up, down = up[:up.index(meeting)], down[:down.index(meeting)]
        for frame in (*up, *down):
            if len(parents := self.parents(frame)) > 1:
                names = ' and '.join(name for name, _ in parents)
                return [], f'{frame} has the parents {names}'
        if meeting is None:
            return [], f'{first} and {second} are in separate trees'
        return [
            *(((self._parent(frame), frame), False) for frame in up),
            *(((self._parent(frame), frame), True) for frame in reversed(down)),
        ], ''

    def _parent(self, frame: str) -> str:
        return self.parents(frame)[0][0]

    def _ancestry(self, frame: str) -> list[str]:
        line = [frame]
        while (parents := self.parents(line[-1])) and parents[0][0] not in line:
            line.append(parents[0][0])
        return line
