"""Accuracy of multi-object trackers: CLEAR MOT, identity scores, and HOTA.

The numbers are those of TrackEval (J. Luiten, A. Hoffhues), the reference code of HOTA and of
MOTChallenge, where it has any.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from robot_qa.errors import RobotQaError
from robot_qa.geometry import Floats
from robot_qa.perception.confusion import ratio

Indices = NDArray[np.int64]

# HOTA is the mean over these thresholds of similarity: 0.05, 0.10 ... 0.95.
ALPHAS = np.arange(0.05, 0.99, 0.05)
# Far above any similarity: keeping a match goes before finding a better one.
KEPT = 1000.0
ROUNDING = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class TrackingScores:
    """Scores over all frames; ``None`` where there was nothing to evaluate.

    ``truth`` and ``predictions`` count objects in frames. ``motp`` is the mean similarity of the
    matches (1 is perfect). ``duplicates`` counts predictions whose id occurred earlier in the same
    frame; each is taken as a track of its own.
    """

    frames: int
    truth: int
    predictions: int
    duplicates: int
    misses: int
    false_alarms: int
    switches: int
    fragmentations: int
    mota: float | None
    motp: float | None
    idf1: float | None
    hota: float | None
    det_a: float | None
    ass_a: float | None


@dataclass(frozen=True)
class FrameCounts:
    """What one frame adds to MOTA and MOTP; ``similarity`` is the sum over its matches."""

    truth: int
    predictions: int
    matches: int
    switches: int
    similarity: float


@dataclass(frozen=True)
class _Frame:
    """Tracks (by number) of one frame, and the pairs that are similar at all."""

    true: Indices
    predicted: Indices
    rows: Indices
    columns: Indices
    similarity: Floats

    @classmethod
    def of(cls, true: Indices, predicted: Indices, similarity: Floats) -> _Frame:
        rows, columns = np.nonzero(similarity)
        return cls(true, predicted, rows, columns, similarity[rows, columns])

    def spread(self, values: Floats) -> Floats:
        """Return one value for each pair, as a matrix; zero for those that are not similar."""
        matrix = np.zeros((len(self.true), len(self.predicted)))
        matrix[self.rows, self.columns] = values
        return matrix

    def pairs(self, tracks: int) -> Indices:
        """Return one number for each pair of a true and a predicted track."""
        return self.true[self.rows] * tracks + self.predicted[self.columns]


@dataclass
class _Tracks:
    """Numbers given to ids in the order of their first occurrence, and how often each occurred."""

    numbers: dict[Hashable, int] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)

    def number(self, ids: Sequence[Hashable]) -> Indices:
        """Return the tracks' numbers and count them; unknown ids become new tracks."""
        numbers = [self.numbers.setdefault(one, len(self.numbers)) for one in ids]
        self.lengths.extend([0] * (len(self.numbers) - len(self.lengths)))
        for one in numbers:
            self.lengths[one] += 1
        return np.array(numbers, np.int64)


class Tracking:
    """Tracks of one sequence (and one class) against true tracks, one frame after the other.

    ``threshold`` is the similarity from which a pair may match, for all scores but HOTA.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        if not 0.0 < threshold <= 1.0:
            raise RobotQaError(f'a threshold of similarity is from 0 to 1; got {threshold}')
        self._threshold = threshold
        self._true = _Tracks()
        self._predicted = _Tracks()
        self._duplicates = 0
        self._frames: list[_Frame] = []
        self._counts: list[FrameCounts] = []
        # By true track: the last predicted one it matched, and that of the last frame it was in.
        self._last: dict[int, int] = {}
        self._current: dict[int, int] = {}
        self._fragments: dict[int, int] = {}

    def add_frame(
        self, true_ids: Sequence[Hashable], predicted_ids: Sequence[Hashable], similarity: Floats
    ) -> FrameCounts:
        """Add a frame of n true and m predicted objects; return what it adds to MOTA.

        ``similarity`` (n, m) goes from 0 to 1: the IoU, say. Raises RobotQaError if the shape
        does not fit, a value is out of range, or a true id occurs twice.
        """
        shape = (len(true_ids), len(predicted_ids))
        if similarity.shape != shape:
            raise RobotQaError(f'similarities of the shape {similarity.shape} do not fit '
                               f'{shape[0]} true and {shape[1]} predicted objects')
        if not ((similarity >= 0.0) & (similarity <= 1.0)).all():
            raise RobotQaError('a similarity is not from 0 to 1')
        if len(set(true_ids)) < len(true_ids):
            raise RobotQaError('the truth holds an id twice in one frame')
        frame = _Frame.of(
            self._true.number(true_ids), self._predicted.number(self._unique(predicted_ids)),
            similarity,
        )
        self._frames.append(frame)
        self._counts.append(self._clear(frame, similarity))
        return self._counts[-1]

    def _unique(self, ids: Sequence[Hashable]) -> list[Hashable]:
        """Return the ids, each that is repeated replaced by one that no other frame has."""
        seen: set[Hashable] = set()
        unique: list[Hashable] = []
        for one in ids:
            if one in seen:
                self._duplicates += 1
                unique.append(object())
            else:
                seen.add(one)
                unique.append(one)
        return unique

    def _clear(self, frame: _Frame, similarity: Floats) -> FrameCounts:
        """Match a frame as CLEAR MOT does: what matched in the last one stays, the rest is best.

        K. Bernardin, R. Stiefelhagen, "Evaluating multiple object tracking performance: the CLEAR
        MOT metrics", EURASIP Journal on Image and Video Processing, 2008. As in TrackEval, a
        frame without any true or any predicted object interrupts no match.
        """
        count, others = similarity.shape
        if not count or not others:
            return FrameCounts(count, others, 0, 0, 0.0)
        before = np.array([self._current.get(one, -1) for one in frame.true.tolist()])
        score = KEPT * (frame.predicted == before[:, None]) + similarity
        score[similarity < self._threshold - ROUNDING] = 0.0
        rows, columns = linear_sum_assignment(score, maximize=True)
        matched = score[rows, columns] > ROUNDING
        rows, columns = rows[matched], columns[matched]
        pairs = dict(zip(frame.true[rows].tolist(), frame.predicted[columns].tolist(),
                         strict=True))
        switches = sum(self._last.get(true, now) != now for true, now in pairs.items())
        for true in pairs.keys() - self._current.keys():
            self._fragments[true] = self._fragments.get(true, -1) + 1
        self._last.update(pairs)
        self._current = pairs
        return FrameCounts(
            count, others, len(pairs), switches, float(similarity[rows, columns].sum()))

    def result(self) -> TrackingScores:
        """Return the scores over all frames so far.

        MOTA = 1 - (misses + false alarms + switches) / truth (Bernardin, see above). IDF1 and HOTA
        depend on whole tracks, so the time this takes grows with the frames.
        """
        truth, predictions = sum(self._true.lengths), sum(self._predicted.lengths)
        matches = sum(one.matches for one in self._counts)
        switches = sum(one.switches for one in self._counts)
        errors = truth + predictions - 2 * matches + switches
        share = ratio(errors, truth)
        hota, det_a, ass_a = self._hota()
        return TrackingScores(
            len(self._frames), truth, predictions, self._duplicates, truth - matches,
            predictions - matches, switches, sum(self._fragments.values()),
            None if share is None else 1.0 - share,
            ratio(sum(one.similarity for one in self._counts), matches),
            ratio(2 * self._identities(), truth + predictions), hota, det_a, ass_a,
        )

    def _identities(self) -> int:
        """Return the objects found under the one id that suits their track best.

        E. Ristani et al., "Performance measures and a data set for multi-target, multi-camera
        tracking", ECCV workshops 2016: tracks are matched one to one so that this is greatest.
        IDF1 is twice this over all true and predicted objects.
        """
        together = np.zeros(self._shape, np.int64)
        for frame in self._frames:
            near = frame.similarity >= self._threshold
            together[frame.true[frame.rows[near]], frame.predicted[frame.columns[near]]] += 1
        return int(together[linear_sum_assignment(together, maximize=True)].sum())

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self._true.lengths), len(self._predicted.lengths)

    def _hota(self) -> tuple[float | None, float | None, float | None]:
        """Return HOTA, DetA and AssA, each the mean over all thresholds.

        J. Luiten et al., "HOTA: a higher order metric for evaluating multi-object tracking", IJCV
        129, 2021. Where nothing matches at a threshold, its AssA is 0, as in TrackEval; where
        nothing matches at any, there is no AssA.
        """
        everything = sum(self._true.lengths) + sum(self._predicted.lengths)
        if not everything:
            return None, None, None
        pairs, similarity = self._matches()
        lengths = np.add.outer(self._true.lengths, self._predicted.lengths).ravel()
        det_a, ass_a = np.zeros(len(ALPHAS)), np.zeros(len(ALPHAS))
        for index, alpha in enumerate(ALPHAS):
            hits, counts = np.unique(pairs[similarity >= alpha - ROUNDING], return_counts=True)
            found = int(counts.sum())
            det_a[index] = found / (everything - found)
            if found:
                ass_a[index] = (counts * (counts / (lengths[hits] - counts))).sum() / found
        hota = float(np.sqrt(det_a * ass_a).mean())
        return hota, float(det_a.mean()), float(ass_a.mean()) if det_a.any() else None

    def _matches(self) -> tuple[Indices, Floats]:
        """Match each frame for HOTA; return the pair and the similarity of every match."""
        alignment = self._alignment()
        tracks = self._shape[1]
        pairs, similarities = [np.zeros(0, np.int64)], [np.zeros(0)]
        for frame in self._frames:
            if not len(frame.rows):
                continue
            score = frame.spread(alignment[frame.pairs(tracks)] * frame.similarity)
            rows, columns = linear_sum_assignment(score, maximize=True)
            pairs.append(frame.true[rows] * tracks + frame.predicted[columns])
            similarities.append(frame.spread(frame.similarity)[rows, columns])
        return np.concatenate(pairs), np.concatenate(similarities)

    def _alignment(self) -> Floats:
        """Return how well each pair of tracks goes together over the whole sequence, flat."""
        together = np.zeros(self._shape[0] * self._shape[1])
        for frame in self._frames:
            if not len(frame.rows):
                continue
            similarity = frame.spread(frame.similarity)
            whole = similarity.sum(axis=0) + similarity.sum(axis=1)[:, None] - similarity
            whole = whole[frame.rows, frame.columns]
            clear = whole > ROUNDING
            together[frame.pairs(self._shape[1])[clear]] += frame.similarity[clear] / whole[clear]
        lengths = np.add.outer(self._true.lengths, self._predicted.lengths).ravel()
        aligned: Floats = together / (lengths - together)
        return aligned
