"""Whether a score means what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_qa.errors import RobotQaError
from robot_qa.perception.objects import Bools, Floats, Ints


@dataclass(frozen=True)
class Calibration:
    """A reliability diagram: per bin of scores the count, the mean score and the share of hits.

    Each has shape (bins,); mean and share are NaN in an empty bin.
    """

    counts: Ints
    scores: Floats
    hits: Floats

    @property
    def error(self) -> float:
        """The expected calibration error: the mean of |share - score|, weighted by the counts.

        M. Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI
        2015; C. Guo et al., "On calibration of modern neural networks", ICML 2017.
        """
        gaps = np.abs(self.hits - self.scores)
        return float(np.nansum(gaps * self.counts) / self.counts.sum())


def calibration(scores: Floats, hits: Bools, bins: int) -> Calibration:
    """Sort scores (n,) from 0 to 1 into ``bins`` of equal width, an edge into the lower one.

    For detections a hit is one that counts as found, so the share of hits is the precision
    (F. Kueppers et al., "Multivariate confidence calibration for object detection", CVPR
    workshops 2020). Raises RobotQaError for a score beyond 0 to 1.
    """
    if len(scores) and not 0.0 <= scores.min() <= scores.max() <= 1.0:
        raise RobotQaError('only scores from 0 to 1 can be calibrated')
    edges = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    place = np.searchsorted(edges, scores, 'left')
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid='ignore'):
        return Calibration(
            counts, np.bincount(place, scores, bins) / counts,
            np.bincount(place, hits, bins) / counts,
        )
