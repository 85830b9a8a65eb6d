# SPDX-License-Identifier: Apache-2.0
"""Self-labels of many recordings as one file, each bound to the content of the bag that it was made from."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from radio_visual_ssl.bags.messages import targets_to_message
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.learning.self_labels import SelfLabels
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.share import PACKAGE
from radio_visual_ssl.whole_file import replacing

LABEL_TOPIC = '/self_label/targets'
"""Where labels are written in a bag, as TargetArray."""

_KIND, _FORMAT = 'labels', 1
_ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    'stamps_ns': ('<i8', ()),
    'known': ('|b1', ()),
    'frame': ('<i8', ()),
    'instance': ('<i8', ()),
    'range': ('<f8', ()),
    'azimuth': ('<f8', ()),
    'variance': ('<f8', (2,)),
    'confidence': ('<f8', ()),
    'kept': ('|b1', ()),
}
_OF_FRAMES = ('stamps_ns', 'known')
OF_LABELS = (*(name for name in _ARRAYS if name not in _OF_FRAMES), 'label')
"""Fields of `RecordingLabels` that have one value for each label."""


class LabelError(ValueError):
    """Labels that cannot be used; the message names the file or the bag, what was got and what was expected."""


class LabelledBag(Protocol):
    """What a recording must tell so that its labels are found (see ``learning.recordings.Recording``)."""

    @property
    def name(self) -> str:
        """Of the bag."""
        ...

    @property
    def content(self) -> str:
        """Hash of what is in the bag."""
        ...

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) of the heatmaps."""
        ...


@dataclass(frozen=True, eq=False)
class RecordingLabels:
    """Labels of one recording.

    Dropped labels are kept in the arrays, with ``kept`` false: something is in the picture, but where the radar sees
    it is not known, so that the neighbourhood of the place is neither target nor background.

    Attributes:
        name: of the bag.
        content: hash of what is in the bag.
        group: map group, the camera pose.
        stamps_ns: (N,) int64, of the frames.
        known: (N,) bool, the camera could tell what is in the frame: masks were made, or it was seen to be empty.
        frame: (L,) int64 ascending, number of each label's frame.
        instance: (L,) int64, number of the mask in its frame.
        range, azimuth: (L,) m and rad (anticlockwise), as the radar reads them.
        variance: (L, 2) m^2 and rad^2 of range and azimuth.
        confidence: (L,) in [0, 1].
        kept: (L,) bool, confident enough to learn from.
        label: (L,) class names, empty where unknown; empty as a whole = all are.

    Raises:
        LabelError: arrays that contradict each other or hold values that no label has.
    """

    name: str
    content: str
    group: str
    stamps_ns: NDArray[np.int64]
    known: NDArray[np.bool_]
    frame: NDArray[np.int64]
    instance: NDArray[np.int64]
    range: NDArray[np.float64]
    azimuth: NDArray[np.float64]
    variance: NDArray[np.float64]
    confidence: NDArray[np.float64]
    kept: NDArray[np.bool_]
    label: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, np.str_))

    def __post_init__(self) -> None:
        """Check shapes and values."""
        where = f'labels of {self.name!r}'
        if not self.label.size:
            object.__setattr__(self, 'label', np.full(len(self.frame), ''))
        if self.label.shape != self.frame.shape or self.label.dtype.kind != 'U':
            got = f'{self.label.dtype} {self.label.shape}'
            raise LabelError(f'{where}: label: expected {len(self.frame)} class names, got {got}')
        sizes = {True: len(self.stamps_ns), False: len(self.frame)}
        for name, (_, inner) in _ARRAYS.items():
            expected, got = (sizes[name in _OF_FRAMES], *inner), getattr(self, name).shape
            if got != expected:
                raise LabelError(f'{where}: {name}: expected shape {expected}, got {got}')
        if self.frame.size and (self.frame[0] < 0 or self.frame[-1] >= sizes[True]):
            raise LabelError(f'{where}: frame: expected numbers from 0 to {sizes[True] - 1}')
        if np.any(np.diff(self.frame) < 0):
            raise LabelError(f'{where}: frame: expected ascending numbers')
        finite = all(np.all(np.isfinite(getattr(self, name))) for name in ('range', 'azimuth', 'variance'))
        if not finite or np.any(self.range <= 0) or np.any(self.variance <= 0):
            raise LabelError(f'{where}: range, azimuth, variance: expected finite places beyond 0 m and variances')
        if not np.all((self.confidence >= 0) & (self.confidence <= 1)):
            raise LabelError(f'{where}: confidence: expected numbers from 0 to 1')

    def __len__(self) -> int:
        """Number of labels, dropped ones too."""
        return int(self.frame.size)

    @property
    def classes(self) -> list[str]:
        """Names of the classes that labels have, in alphabetical order."""
        return [str(name) for name in np.unique(self.label) if name]

    def of_frame(self, index: int) -> NDArray[np.int64]:
        """Numbers of the labels of a frame, dropped ones too."""
        first, end = np.searchsorted(self.frame, [index, index + 1])
        return np.arange(first, end)

    def aligned(self, stamps_ns: NDArray[np.int64]) -> 'RecordingLabels':
        """The labels on other frames of the same bag; frames that they lack are not known.

        Args:
            stamps_ns: (M,) of the frames.

        Raises:
            LabelError: not one stamp in common; or others than were labelled, and some of them more than once.
        """
        if np.array_equal(stamps_ns, self.stamps_ns):
            return self
        if any(np.unique(stamps).size < len(stamps) for stamps in (self.stamps_ns, stamps_ns)):
            raise LabelError(f'labels of {self.name!r}: expected the stamps that were labelled, or none twice')
        common, mine, its = np.intersect1d(self.stamps_ns, stamps_ns, assume_unique=True, return_indices=True)
        if common.size == 0:
            raise LabelError(
                f'labels of {self.name!r}: expected stamps of its frames, none of {len(stamps_ns)} is among the'
                f' {len(self.stamps_ns)} that were labelled'
            )
        known = np.zeros(len(stamps_ns), dtype=np.bool_)
        known[its] = self.known[mine]
        number = np.full(len(self.stamps_ns), -1)
        number[mine] = its
        moved = number[self.frame]
        order = np.argsort(moved, kind='stable')
        inside = order[moved[order] >= 0]
        arrays = {name: getattr(self, name)[inside] for name in OF_LABELS}
        arrays['frame'] = moved[inside]
        return replace(self, stamps_ns=stamps_ns, known=known, **arrays)

    def as_self_labels(self) -> SelfLabels:
        """The labels in the form that :mod:`learning.label_metrics` judges."""
        labels = SelfLabels.given(self.frame, self.range, self.azimuth, self.confidence)
        return replace(labels, instance=self.instance, variance=self.variance)

    def targets(self, radar_height: float = 0.0, *, cone: bool = True) -> list[list[Target] | None]:
        """Kept labels as targets, a list for each frame.

        An empty list is a frame in which the camera sees nothing; None one of which nothing is known, or all of whose
        labels were dropped.

        Args:
            radar_height: m, see ``SelfLabels.targets``.
            cone: see there.
        """
        lists = self.as_self_labels().targets(len(self.stamps_ns), self.kept, radar_height, self.label, cone=cone)
        return [targets if known else None for targets, known in zip(lists, self.known, strict=True)]


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Labels of several recordings, made by one method.

    Attributes:
        method: such as 'mcl_em'.
        radar: name of the profile that the recordings share.
        recordings: one for each bag.
        provenance: how they were made: settings, model, package version; whatever JSON holds.
    """

    method: str
    radar: str
    recordings: tuple[RecordingLabels, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[RecordingLabels]:
        """The recordings' labels."""
        return iter(self.recordings)

    def of(self, recording: LabelledBag) -> RecordingLabels:
        """Labels of a recording, aligned with its frames.

        The bag is known by its content, so that it may be renamed.

        Raises:
            LabelError: no labels of this bag, a bag of that name with another content, or frames at other stamps.
        """
        for labels in self.recordings:
            if labels.content == recording.content:
                return labels.aligned(recording.stamps_ns)
        for labels in self.recordings:
            if labels.name == recording.name:
                raise LabelError(
                    f'{recording.name}: labels are of another bag of this name: expected content {recording.content},'
                    f' got {labels.content}'
                )
        names = ', '.join(labels.name for labels in self.recordings[:8]) + (', ...' if self.recordings[8:] else '')
        raise LabelError(
            f'{recording.name}: expected labels of this bag (content {recording.content}),'
            f' got those of {len(self.recordings)} others: {names}'
        )

    @property
    def content(self) -> str:
        """Hash of all labels: what was learned from them was learned from no others."""
        digest = hashlib.sha256()
        for labels in self.recordings:
            digest.update(f'{labels.content} {labels.group}'.encode())
            for name, (kind, _) in _ARRAYS.items():
                digest.update(np.ascontiguousarray(getattr(labels, name), dtype=kind).tobytes())
            if labels.classes:  # without, they are those that they were before there were classes
                digest.update(json.dumps(labels.label.tolist()).encode())
        return digest.hexdigest()

    @property
    def coverage(self) -> float:
        """Share of the instances whose label was kept; NaN where there are none."""
        count = sum(len(labels) for labels in self.recordings)
        return sum(int(np.count_nonzero(labels.kept)) for labels in self.recordings) / count if count else float('nan')

    def save(self, path: str | Path) -> Path:
        """Write one .safetensors file, in one piece: either it is whole or the old one stays.

        Raises:
            LabelError: the file cannot be written.
        """
        path = Path(path)
        arrays = {
            f'{number}.{name}': np.ascontiguousarray(getattr(labels, name), dtype=kind)
            for number, labels in enumerate(self.recordings)
            for name, (kind, _) in _ARRAYS.items()
        }
        bags: list[dict[str, Any]] = []
        for number, labels in enumerate(self.recordings):
            bags.append({key: getattr(labels, key) for key in ('name', 'content', 'group')})
            if labels.classes:
                # a file holds the places of the class names in its header, -1 = unknown
                places = {label: place for place, label in enumerate(labels.classes)}
                bags[-1]['classes'] = list(places)
                arrays[f'{number}.label'] = np.array([places.get(label, -1) for label in labels.label.tolist()])
        header = {
            'kind': _KIND,
            'format': _FORMAT,
            'method': self.method,
            'radar': self.radar,
            'bags': bags,
            'provenance': dict(self.provenance),
        }
        data = save(arrays, metadata={PACKAGE: json.dumps(header)})
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(data)
        except OSError as error:
            raise LabelError(f'{path}: labels cannot be written: {error}') from error
        return path

    @classmethod
    def load(cls, path: str | Path) -> 'LabelSet':
        """Read what :meth:`save` wrote; no code of the file is run.

        Raises:
            LabelError: no such file, a truncated one, another kind of file, or another format.
        """
        path = Path(path)
        try:
            with safe_open(path, framework='numpy') as file:
                header = _header(path, file.metadata())
                present = set(file.keys())
                recordings = []
                for number, bag in enumerate(header['bags']):
                    missing = [name for name in _ARRAYS if f'{number}.{name}' not in present]
                    if missing:
                        raise LabelError(f'{path}: labels of {bag["name"]!r}: expected arrays {missing}')
                    arrays = {name: file.get_tensor(f'{number}.{name}') for name in _ARRAYS}
                    for name, (kind, _) in _ARRAYS.items():
                        if arrays[name].dtype != np.dtype(kind):
                            raise LabelError(
                                f'{path}: labels of {bag["name"]!r}: {name}: expected {np.dtype(kind)},'
                                f' got {arrays[name].dtype}'
                            )
                    if bag.get('classes'):
                        numbers = file.get_tensor(f'{number}.label')
                        arrays['label'] = _named(path, bag, numbers)
                    recordings.append(RecordingLabels(bag['name'], bag['content'], bag['group'], **arrays))
        except FileNotFoundError as error:
            raise LabelError(f'{path}: expected a label file, found none') from error
        except (OSError, SafetensorError) as error:
            raise LabelError(f'{path}: expected a whole label file (.safetensors), got: {error}') from error
        return cls(header['method'], header['radar'], tuple(recordings), header['provenance'])


def _named(path: Path, bag: Mapping[str, Any], numbers: NDArray[Any]) -> NDArray[np.str_]:
    """(L,) class names of their places in a bag's list; -1 = unknown.

    Raises:
        LabelError: other numbers.
    """
    names = [*map(str, bag['classes']), '']
    if numbers.dtype.kind != 'i' or np.any((numbers < -1) | (numbers > len(names) - 2)):
        raise LabelError(
            f'{path}: labels of {bag["name"]!r}: label: expected whole numbers from -1 to {len(names) - 2}, the places'
            f' of its classes, got {numbers.dtype} {np.unique(numbers)[:8].tolist()}'
        )
    return np.array(names)[numbers]


def _header(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """Header of a label file.

    Raises:
        LabelError: another kind of file or format.
    """
    try:
        header = json.loads((metadata or {})[PACKAGE])
        kind, version = header['kind'], header.get('format', header.get('version'))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LabelError(f'{path}: expected labels of this package, got another safetensors file') from error
    if kind != _KIND:
        raise LabelError(f'{path}: expected a file of kind {_KIND!r}, got {kind!r}')
    if version != _FORMAT:
        raise LabelError(f'{path}: expected format {_FORMAT}, got {version}')
    missing = {'method', 'radar', 'bags', 'provenance'} - set(header)
    if missing:
        raise LabelError(f'{path}: expected {sorted(missing)} in its header')
    return dict(header)


def write_labels_to_bag(
    path: str | Path,
    labels: RecordingLabels,
    frame_id: str,
    radar_height: float = 0.0,
    *,
    cone: bool = True,
    topic: str = LABEL_TOPIC,
) -> int:
    """Write kept labels as TargetArray into a new bag, to be played or looked at beside the one they are of.

    Frames of which nothing is known, or all of whose labels were dropped, have no message; an empty message is a frame
    in which the camera sees nothing.

    Args:
        path: of the new bag.
        labels: of one recording.
        frame_id: of the radar.
        radar_height: m, see ``SelfLabels.targets``.
        cone: whether the radar reads cone angles, see ``PolarGrid.reads_cone_angles``.
        topic: with a leading slash.

    Returns:
        Number of messages.

    Raises:
        BagError: the bag exists or cannot be written.
    """
    types, count = RosbagsTypes(), 0
    with BagWriter(path) as bag:
        bag.add_topic(topic, f'{PACKAGE}/msg/TargetArray')
        for stamp, targets in zip(labels.stamps_ns, labels.targets(radar_height, cone=cone), strict=True):
            if targets is not None:
                bag.write(topic, int(stamp), targets_to_message(targets, int(stamp), frame_id, types))
                count += 1
    return count


def labels_of_recordings(
    recordings: Sequence[LabelledBag],
    groups: Sequence[str],
    known: Sequence[NDArray[np.bool_]],
    labels: SelfLabels,
    kept: NDArray[np.bool_],
    label: NDArray[np.str_] | None = None,
) -> tuple[RecordingLabels, ...]:
    """Labels of all frames of several recordings, one recording after the other, parted by recording.

    Args:
        recordings: in the order in which their frames were labelled.
        groups: map group of each.
        known: (N,) bool of each, see :class:`RecordingLabels`.
        labels: frames numbered through all recordings.
        kept: one for each label.
        label: class name of each label, empty where unknown; None = all unknown.
    """
    parted, start = [], 0
    for recording, group, seen in zip(recordings, groups, known, strict=True):
        end = start + len(recording.stamps_ns)
        own = slice(*np.searchsorted(labels.frame, [start, end]))
        parted.append(
            RecordingLabels(
                name=recording.name,
                content=recording.content,
                group=group,
                stamps_ns=np.asarray(recording.stamps_ns),
                known=seen,
                frame=labels.frame[own] - start,
                instance=labels.instance[own],
                range=labels.range[own],
                azimuth=labels.azimuth[own],
                variance=labels.variance[own],
                confidence=labels.confidence[own],
                kept=kept[own],
                label=np.full(own.stop - own.start, '') if label is None else label[own],
            )
        )
        start = end
    return tuple(parted)
