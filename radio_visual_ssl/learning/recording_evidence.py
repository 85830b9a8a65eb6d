# SPDX-License-Identifier: Apache-2.0
"""What the radar and the camera of recordings have seen, as self-labels take it: radar peaks and geometry of masks."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.learning.candidates import Candidates, CandidateSettings, find_candidates, static_level
from radio_visual_ssl.learning.frame_evidence import FrameEvidence
from radio_visual_ssl.learning.mask_features import FEATURES, mask_features, mask_weights
from radio_visual_ssl.learning.recording_settings import RecordingError
from radio_visual_ssl.learning.recordings import Recording, derived_array
from radio_visual_ssl.radar.localizer import Localizer
from radio_visual_ssl.worker_processes import worker_processes

RadarBackground = Literal['static', 'raw']
"""``static``: what the radar always sees is taken off; ``raw``: it is not, as on a platform that moves."""

_VERSION = 3  # of the stored tables; another one is made anew
_TRAJECTORY_VERSION = 1
_COLUMNS = 7  # frame, range, azimuth, variance of each, SNR, velocity
# Of a localizer's detections among radar peaks: dB of one of even odds, far from any peak's, and by unit of log-odds;
# and the least variance, m^2 and rad^2.
_SNR_OF_EVEN_ODDS, _SNR_OF_ODDS = 200.0, 6.0
_LEAST_VARIANCE = np.array([0.1**2, np.radians(0.3) ** 2])


@dataclass(frozen=True, eq=False)
class RecordingEvidence:
    """What self-labels are made from, of all frames of one recording.

    Attributes:
        recording: that it is of.
        candidates: (N) radar peaks of each frame.
        features: (N) of (I, F) of each frame.
        weight: (N) of (I,) trust in each mask.
    """

    recording: Recording
    candidates: list[Candidates]
    features: list[NDArray[np.float64]]
    weight: list[NDArray[np.float64]]

    def frame(self, index: int, attention: NDArray[np.float64] | None = None) -> FrameEvidence:
        """Evidence of a frame.

        Args:
            index: of the frame.
            attention: (I, C), see ``FrameEvidence``.
        """
        return FrameEvidence(
            scene=self.recording.content,
            stamp_ns=int(self.recording.stamps_ns[index]),
            candidates=self.candidates[index],
            features=self.features[index],
            group=self.recording.group,
            weight=self.weight[index],
            attention=attention,
        )


def recording_candidates(
    recording: Recording, background: RadarBackground = 'static', settings: CandidateSettings = CandidateSettings()
) -> list[Candidates]:
    """Radar peaks of all frames of a recording; found once, and kept beside the recording's arrays.

    Args:
        recording: any.
        background: see `RadarBackground`.
        settings: see `CandidateSettings`.

    Raises:
        ArrayStoreError: they cannot be kept.
    """
    key = f'candidates {_VERSION} {background} {json.dumps(asdict(settings), sort_keys=True)}'
    table = derived_array(recording, key, lambda: _candidate_table(recording, background, settings))
    parts = np.split(np.asarray(table), np.searchsorted(table[:, 0], np.arange(1, len(recording))))
    return [Candidates(rows[:, 1], rows[:, 2], rows[:, 3:5], rows[:, 5], rows[:, 6]) for rows in parts]


def recording_trajectory(recording: Recording) -> NDArray[np.float64]:
    """(N, 3) x, y (m) and yaw (rad) of the radar over the ground at each frame; NaN where the bag does not tell them.

    Args:
        recording: its bag must still be there.

    Raises:
        BagError: a transform that is wrong.
        ArrayStoreError: the trajectory cannot be kept.
    """

    def read() -> NDArray[np.float64]:
        found = BagReader(recording.path).trajectory(recording.frame_id, recording.stamps_ns)
        return np.full((len(recording), 3), np.nan) if found is None else found

    return derived_array(recording, f'trajectory {_TRAJECTORY_VERSION}', read)


def _candidate_table(
    recording: Recording, background: RadarBackground, settings: CandidateSettings
) -> NDArray[np.float64]:
    """(M, 7) peaks of all frames."""
    heatmaps = map(recording.heatmap, range(len(recording)))
    level = static_level(heatmaps) if background == 'static' else None
    tables = []
    for index in range(len(recording)):
        found = find_candidates(recording.heatmap(index), level, settings)
        columns = np.full(len(found), index), found.range, found.azimuth, found.variance, found.snr, found.velocity
        tables.append(np.column_stack(columns))
    return np.concatenate(tables) if tables else np.zeros((0, _COLUMNS))


def gather_evidence(
    recordings: Sequence[Recording],
    background: RadarBackground = 'static',
    settings: CandidateSettings = CandidateSettings(),
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[RecordingEvidence]:
    """Evidence of several recordings.

    Args:
        recordings: of one radar.
        background: see `RadarBackground`.
        settings: see `CandidateSettings`.
        workers: processes that look for radar peaks at once.
        progress: called with (recordings done, recordings in all).

    Raises:
        RecordingError: a process died.
        ArrayStoreError: peaks cannot be kept.
    """
    find = partial(_found, background=background, settings=settings)
    if workers > 1 and len(recordings) > 1:
        with worker_processes(min(workers, len(recordings))) as pool:
            try:
                for done, _ in enumerate(pool.map(find, recordings), start=1):
                    if progress is not None:
                        progress(done, len(recordings))
            except BrokenProcessPool as error:
                raise RecordingError(
                    'a process that looks for radar peaks died, perhaps for lack of memory; try fewer'
                ) from error
        progress = None
    evidence = []
    for recording in recordings:
        evidence.append(_evidence(recording, background, settings))
        if progress is not None:
            progress(len(evidence), len(recordings))
    return evidence


def with_detections(evidence: RecordingEvidence, localizer: Localizer, merge_radius: float = 1.5) -> RecordingEvidence:
    """Evidence whose radar peaks are a localizer's detections too, for one more round of labelling.

    A detection takes the place of the peaks around it. Its SNR is that of no peak, and the higher the score the higher
    it is, so that how far detections of a score are to be trusted is learned like how far peaks of a strength are.

    Args:
        evidence: of one recording.
        localizer: whose positions are as the radar reads them. It is best one that was trained on other recordings:
            of its own ones it may remember labels that were wrong.
        merge_radius: m, peaks nearer than this to a detection are part of it.

    Raises:
        ValueError: the radar is not the localizer's.
    """
    localizer.reset()
    merged = []
    for index, peaks in enumerate(evidence.candidates):
        targets = localizer.localize(evidence.recording.heatmap(index))
        found = Candidates.of(targets)
        score = np.clip([target.score for target in targets], 1e-3, 1 - 1e-3)
        apart = np.ones(len(peaks), np.bool_)
        for range_, azimuth in zip(found.range, found.azimuth, strict=True):
            apart &= np.abs(_places(peaks) - range_ * np.exp(1j * azimuth)) > merge_radius
        merged.append(
            Candidates(
                np.append(found.range, peaks.range[apart]),
                np.append(found.azimuth, peaks.azimuth[apart]),
                np.concatenate((np.maximum(found.variance, _LEAST_VARIANCE), peaks.variance[apart])),
                np.append(_SNR_OF_EVEN_ODDS + _SNR_OF_ODDS * np.log(score / (1 - score)), peaks.snr[apart]),
                np.append(found.velocity, peaks.velocity[apart]),
            )
        )
    return replace(evidence, candidates=merged)


def _places(candidates: Candidates) -> NDArray[np.complex128]:
    """(C,) m, x + iy."""
    return np.asarray(candidates.range * np.exp(1j * candidates.azimuth))


def _found(recording: Recording, background: RadarBackground, settings: CandidateSettings) -> None:
    """Has the peaks of a recording stored."""
    recording_candidates(recording, background, settings)


def _evidence(recording: Recording, background: RadarBackground, settings: CandidateSettings) -> RecordingEvidence:
    candidates = recording_candidates(recording, background, settings)
    masks = [recording.mask(number) for number in range(recording.instances)]
    parts = recording.mask_starts[1:-1]
    features = mask_features(masks) if masks else np.zeros((0, len(FEATURES)))
    return RecordingEvidence(recording, candidates, np.split(features, parts), np.split(mask_weights(masks), parts))
