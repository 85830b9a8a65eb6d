# SPDX-License-Identifier: Apache-2.0
"""Self-labels: where the radar sees what the camera sees, with covariance and confidence."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.ground import places_on_ground
from radio_visual_ssl.radar.target import Target

UNKNOWN_VARIANCE = (1.0, 0.01)
"""m^2 and rad^2 that a place is given which comes without a variance of its own."""


@dataclass(frozen=True, eq=False)
class SelfLabels:
    """Labels of all instances, in the order of the frames and of the instances in each.

    Attributes:
        frame: (N,) number of the frame in what was given.
        instance: (N,) number of the instance in its frame.
        range, azimuth: (N,) m and rad, as the radar reads them.
        variance: (N, 2) m^2 and rad^2 of range and azimuth.
        confidence: (N,) in [0, 1].
        detected: (N,) probability that one of the frame's candidates is the instance's.
        candidate: (N,) number of the likeliest candidate, -1 where the instance is rather missed.
        pair: (N,) probability that this very candidate is the instance's.
        purity: (N,) share of what this label's map finds that it does not find by chance.
        detection_probability: mean over the folds.
        log_evidence: held out, mean over the instances; 0 is what clutter alone would give.
        iterations: of the fit of each fold and group, largest.
        converged: all fits ended before their last iteration.
    """

    frame: NDArray[np.int64]
    instance: NDArray[np.int64]
    range: NDArray[np.float64]
    azimuth: NDArray[np.float64]
    variance: NDArray[np.float64]
    confidence: NDArray[np.float64]
    detected: NDArray[np.float64]
    candidate: NDArray[np.int64]
    pair: NDArray[np.float64]
    purity: NDArray[np.float64]
    detection_probability: float
    log_evidence: float
    iterations: int
    converged: bool

    @classmethod
    def given(
        cls,
        frame: NDArray[np.int64],
        range_: NDArray[np.float64],
        azimuth: NDArray[np.float64],
        confidence: NDArray[np.float64],
        variance: tuple[float, float] = UNKNOWN_VARIANCE,
    ) -> 'SelfLabels':
        """Labels of another method, such as bare attention peaks, to be judged and written like these.

        Args:
            frame: (N,) ascending, number of each label's frame.
            range_: (N,) m.
            azimuth: (N,) rad.
            confidence: (N,) in [0, 1].
            variance: of range (m^2) and azimuth (rad^2), for all.
        """
        count = frame.size
        return cls(
            frame=frame,
            instance=np.arange(count) - np.searchsorted(frame, frame),
            range=range_,
            azimuth=azimuth,
            variance=np.tile(np.array(variance), (count, 1)),
            confidence=confidence,
            detected=confidence,
            candidate=np.full(count, -1),
            pair=np.zeros(count),
            purity=np.ones(count),
            detection_probability=float('nan'),
            log_evidence=float('nan'),
            iterations=0,
            converged=True,
        )

    def __len__(self) -> int:
        """Number of labels."""
        return int(self.frame.size)

    def chosen(self, rows: NDArray[np.bool_]) -> 'SelfLabels':
        """Some of the labels.

        Args:
            rows: (N,) bool.
        """
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        arrays: dict[str, Any] = {name: value[rows] for name, value in values.items() if isinstance(value, np.ndarray)}
        return replace(self, **arrays)

    @property
    def position(self) -> NDArray[np.float64]:
        """(N, 2) m, x forward and y left in the radar frame, at the range that the radar reads."""
        return self.range[:, None] * np.column_stack((np.cos(self.azimuth), np.sin(self.azimuth)))

    def kept(self, confidence: float | None = None, coverage: float | None = None) -> NDArray[np.bool_]:
        """(N,) which labels to keep: those of a confidence at least, or the most confident share of all.

        Args:
            confidence: least confidence.
            coverage: share in [0, 1]; labels without any confidence (0) are not kept for it.

        Raises:
            ValueError: not exactly one of the two.
        """
        if (confidence is None) == (coverage is None):
            raise ValueError('confidence, coverage: expected one of the two')
        if confidence is not None:
            return self.confidence >= confidence
        keep = np.zeros(len(self), dtype=bool)
        keep[np.argsort(-self.confidence, kind='stable')[: round(float(coverage or 0.0) * len(self))]] = True
        return keep & (self.confidence > 0)

    def targets(
        self,
        frames: int,
        keep: NDArray[np.bool_],
        radar_height: float = 0.0,
        label: NDArray[np.str_] | None = None,
        *,
        cone: bool = True,
    ) -> list[list[Target] | None]:
        """Kept labels as targets, a list for each frame.

        An empty list is a frame without any instance: nothing is there that the camera could see. None is a frame all
        of whose instances were dropped: what is there is not known.

        Args:
            frames: number of frames that were given.
            keep: (N,) see :meth:`kept`.
            radar_height: m, of the radar above the reflecting points, to take what it reads to the ground; what is
                nearer than that is dropped. 0 = positions are what the radar reads.
            label: (N,) class names, empty where unknown; None = all unknown.
            cone: whether the radar reads cone angles, see ``PolarGrid.reads_cone_angles``.
        """
        has_instances = np.bincount(self.frame, minlength=frames) > 0
        lists: list[list[Target] | None] = [None if some else [] for some in has_instances]
        spread = np.zeros((len(self), 2, 2))
        spread[:, 0, 0], spread[:, 1, 1] = self.variance[:, 0], self.range**2 * self.variance[:, 1]
        places, covariances = places_on_ground(self.range, self.azimuth, spread, radar_height, 0.0, cone=cone)
        for number in np.flatnonzero(keep & (self.range > abs(radar_height))):
            target = Target(
                x=float(places[number, 0]),
                y=float(places[number, 1]),
                z=-radar_height,
                covariance=covariances[number],
                score=float(self.confidence[number]),
                label='' if label is None else str(label[number]),
            )
            index = int(self.frame[number])
            lists[index] = [*(lists[index] or []), target]
        return lists
