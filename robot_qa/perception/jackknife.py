"""How sure any metric of correlated frames is, from the metric without parts of the run."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.special import stdtrit

from robot_qa.perception.objects import Bools
from robot_qa.stats import Estimate

FEWEST_GROUPS, MOST_GROUPS = 6, 20


def jackknife_bounds(
    value: Callable[[Bools], float | None], frames: int, level: float, *,
    share: bool, effective: float,
) -> Estimate | None:
    """Return one-sided bounds on a metric of ``frames`` frames in the order of time.

    ``value`` gives the metric of chosen frames (bool, one per frame). The variance is that of the
    delete-a-group jackknife: F. Mosteller and J. Tukey, "Data analysis, including statistics",
    1968; with groups of consecutive frames for correlated ones: H. Kuensch, "The jackknife and the
    bootstrap for general stationary observations", Annals of Statistics 17, 1989. The bounds are
    those of Student's t with one degree of freedom less than groups. There are 20 groups, or 6 and
    more where these are worth three independent frames each. What is too high on few frames, such
    as an average precision, is made up for in the lower bound by the jackknife's estimate of the
    bias (M. Quenouille, "Notes on bias in estimation", Biometrika 43, 1956), and likewise in the
    upper one.

    Where all groups agree, their variance says nothing: a ``share``, which lies within 0 to 1, is
    bounded by as much as ``effective`` independent frames without an exception leave open (the
    "rule of three", log(1 / (1 - level)) / effective). ``None`` if there is no value, or too few
    groups have one.
    """
    whole = value(np.ones(frames, bool))
    count = min(frames, max(FEWEST_GROUPS, min(MOST_GROUPS, int(effective / 3.0))))
    if whole is None or count < 2:
        return None
    border = np.linspace(0, frames, count + 1).round().astype(int)
    without = []
    for first, past in pairwise(border.tolist()):
        chosen = np.ones(frames, bool)
        chosen[first:past] = False
        without.append(value(chosen))
    known = np.array([one for one in without if one is not None])
    if len(known) < max(2, count // 2):
        return None
    spread = math.sqrt((len(known) - 1) * float(known.var()))
    reach = float(stdtrit(len(known) - 1, level)) * spread
    bias = (len(known) - 1) * (float(known.mean()) - whole)
    below, above = reach + max(0.0, bias), reach + max(0.0, -bias)
    if not share:
        return Estimate(whole, whole - below, whole + above)
    least = -math.log1p(-level) / max(effective, 1.0) * _open(whole)
    return Estimate(
        whole, max(0.0, whole - max(below, least)), min(1.0, whole + max(above, least)))


def _open(share: float) -> float:
    """Return 1 at both ends of 0 to 1, where a variance cannot be seen, and 0 in the middle."""
    return max(0.0, 1.0 - 20.0 * min(share, 1.0 - share))
