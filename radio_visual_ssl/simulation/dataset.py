# SPDX-License-Identifier: Apache-2.0
"""Writes simulated data sets: a folder of paired bags, one for each instance of a scene, and what they are."""

import hashlib
import importlib
import re
import shutil
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

import radio_visual_ssl
from radio_visual_ssl.bags.messages import (
    camera_to_info,
    cube_to_message,
    heatmap_to_image,
    heatmap_to_info,
    image_to_compressed,
    image_to_message,
    profile_to_info,
    targets_to_message,
    transform_to_message,
    velocity_to_image,
)
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.config_file import read_mapping
from radio_visual_ssl.radar.cube import RadarCube, canonical
from radio_visual_ssl.radar.formation import FormationSettings, HeatmapFormer
from radio_visual_ssl.radar.profile import load_profile
from radio_visual_ssl.simulation.layout import Layout, lay_out
from radio_visual_ssl.simulation.scene import Scene, load_scene
from radio_visual_ssl.simulation.simulator import Simulator
from radio_visual_ssl.whole_file import replacing
from radio_visual_ssl.worker_processes import only_process, worker_processes

Split = Literal['train', 'val', 'test']

DESCRIPTION = 'dataset.yaml'
FORMAT = 1  # of the description
INSTANCES = 60  # of a standard set: 40 to train on, 10 to validate, 10 to test
LEAST_FRAMES = 10  # of an instance, unless the instances are counted
LATER_SETTINGS: dict[str, Any] = {'overrides': [], 'begin_s': 0.0, 'device': 'cpu', 'formation': []}
"""Told only where they are not as usual, so that sets of before there were any are gone on with."""
BACKENDS = {
    'scatter': 'radio_visual_ssl.simulation.simulator:Simulator',
    'raytraced': 'radio_visual_ssl.simulation.raytraced:RaytracedSimulator',
}
"""Class that plays a scene, by the name of the back end."""

RADAR_FRAME, CAMERA_FRAME, MAP_FRAME, ODOM_FRAME = 'radar', 'camera', 'map', 'odom'
_JPEG_QUALITY = 90
_FIXED_FORMATION = ('transform', 'threads', 'device')  # with others, bags would not repeat to the bit
_LARGEST_SIDE = 4096  # px of an image: as 4K cameras have, and what memory holds
_SECONDS_APART = 1000  # stamps of consecutive instances begin this far apart


class DatasetError(ValueError):
    """A data set cannot be made as asked; the message names the folder or the setting."""


@dataclass(frozen=True)
class DatasetPlan:
    """What a data set is to hold. Equal plans make equal data sets.

    Attributes:
        scene: name of a shipped scene, or path of a YAML file.
        radar: name of a shipped profile, or path of a YAML file.
        frames: pairs in all, shared out evenly over the instances.
        seed: everything that is drawn is drawn from it; not negative.
        backend: a name of BACKENDS.
        instances: of the scene, each with a seed of its own; 0 = 60, or fewer so that each has 10 frames.
        rate: pairs a second.
        image_size: (width, height) px.
        cube: write raw cubes instead of heatmaps.
        formation: of the heatmaps, each ``field=value`` of `FormationSettings`.
        raw_images: write raw images instead of JPEG.
        compress: zstd in the bags.
        camera_shift: m, how far from its place each instance may mount its camera; 0 = as the scene says.
        camera_turn_deg: by how much it may turn it; 0 = as the scene says.
        begin_s: time in the scene of the first pair; with half the time between pairs, those of a set that begins at 0
            and those of this one are of other moments of the same scenes.
        device: that computes what the radar measures: cpu, or a torch device such as cuda, on which heatmaps differ in
            the last bits.
        overrides: of the scene's values, each ``name.of.field=value``.

    Raises:
        DatasetError: a value out of range; the message names it.
    """

    scene: str
    radar: str
    frames: int
    seed: int = 0
    backend: str = 'scatter'
    instances: int = 0
    rate: float = 10.0
    image_size: tuple[int, int] = (320, 240)
    cube: bool = False
    raw_images: bool = False
    compress: bool = False
    camera_shift: float = 0.0
    camera_turn_deg: float = 0.0
    begin_s: float = 0.0
    device: str = 'cpu'
    formation: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the values, and fill in the number of instances."""
        if self.backend not in BACKENDS:
            raise DatasetError(f'backend: expected one of {", ".join(BACKENDS)}, got {self.backend!r}')
        if self.frames < 1:
            raise DatasetError(f'frames: expected at least 1, got {self.frames}')
        if self.seed < 0:
            raise DatasetError(f'seed: expected 0 or more, got {self.seed}')
        if not 0 < self.rate <= 1000:
            raise DatasetError(f'rate: expected more than 0 and at most 1000 pairs a second, got {self.rate}')
        if self.device != 'cpu':
            from radio_visual_ssl.radar.torch_formation import torch_device

            try:
                torch_device(self.device)
            except ValueError as error:
                raise DatasetError(str(error)) from error
        if not 0 <= self.begin_s < _SECONDS_APART:
            raise DatasetError(f'begin_s: expected from 0 to less than {_SECONDS_APART} s, got {self.begin_s}')
        if self.cube and self.formation:
            raise DatasetError(f'formation: expected none with raw cubes, got {self.formation[0]!r}')
        if not 16 <= min(self.image_size) <= max(self.image_size) <= _LARGEST_SIDE:
            width, height = self.image_size
            raise DatasetError(
                f'image_size: expected at least 16 x 16 px and at most {_LARGEST_SIDE} each way, got {width} x {height}'
            )
        count = self.instances or max(1, min(INSTANCES, self.frames // LEAST_FRAMES))
        if not 1 <= count <= self.frames:
            raise DatasetError(f'instances: expected from 1 to the {self.frames} frames, got {count}')
        object.__setattr__(self, 'instances', count)

    def instance(self, index: int) -> 'Instance':
        """One instance of the scene.

        Args:
            index: from 0 to `instances` - 1.
        """
        frames = self.frames // self.instances + (index < self.frames % self.instances)
        seed = int(np.random.SeedSequence((self.seed, index)).generate_state(1)[0])
        name = f'{Path(self.scene).stem}_{index:04d}'
        return Instance(name, index, seed, frames, split_of(self.instances, self.seed)[index])


@dataclass(frozen=True)
class Instance:
    """One instance of a scene: one bag.

    Attributes:
        bag: name of its folder.
        index: in the data set.
        seed: of its layout and its noise.
        frames: pairs.
        split: that the whole instance belongs to.
    """

    bag: str
    index: int
    seed: int
    frames: int
    split: Split


@dataclass(frozen=True)
class DatasetReport:
    """What was done.

    Attributes:
        path: of the data set.
        frames, instances: it holds.
        kept: instances that an earlier run had finished.
        splits: instances of each split.
    """

    path: Path
    frames: int
    instances: int
    kept: int
    splits: dict[str, int] = field(default_factory=dict)


def split_of(instances: int, seed: int) -> list[Split]:
    """The split of each instance: a sixth to validate, a sixth to test, drawn by seed; never by frame."""
    held_out = max(instances // 6, int(instances >= 3))
    order = np.random.default_rng((seed, 2**31)).permutation(instances)
    splits: list[Split] = ['train'] * instances
    for place in order[:held_out]:
        splits[place] = 'val'
    for place in order[held_out : 2 * held_out]:
        splits[place] = 'test'
    return splits


def generate(
    plan: DatasetPlan,
    out: str | Path,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> DatasetReport:
    """Make a data set, or finish one that was interrupted.

    Each instance becomes a bag in one piece, so that whatever was there when a run ended is whole and is kept. Bags do
    not depend on the number of workers.

    Args:
        plan: what to make.
        out: its folder; new, empty, or one of the same plan.
        workers: processes.
        progress: called with (pairs done, pairs in all).

    Raises:
        DatasetError: the folder holds something else, another process is at work in it, or a worker died.
        SceneError, ProfileError: the scene or the radar cannot be used.
        FileNotFoundError: no such scene.
    """
    if workers < 1:
        raise DatasetError(f'workers: expected at least 1, got {workers}')
    folder = Path(out)
    content = describe(plan)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f'{folder}: expected a folder that can be made, got {error}') from error
    with only_process(folder, DatasetError(f'{folder}: another process is making a data set here')):
        _take_over(folder, content)
        instances = [plan.instance(index) for index in range(plan.instances)]
        bags = [instance.bag for instance in instances]
        _remove_unfinished(folder, bags)
        missing = [instance for instance in instances if not (folder / instance.bag).exists()]
        done = plan.frames - sum(instance.frames for instance in missing)
        try:
            with closing(_make(plan, folder, missing, workers)) as made:
                for finished in made:
                    done += finished
                    if progress is not None:
                        progress(done, plan.frames)
        finally:
            _remove_unfinished(folder, bags)
        _write_description(folder, {**content, 'complete': True})
    return DatasetReport(folder, plan.frames, plan.instances, plan.instances - len(missing), content['splits'])


def _remove_unfinished(folder: Path, bags: Iterable[str]) -> None:
    """Remove the hidden folders of bags that a run did not finish."""
    for bag in bags:
        for leftover in folder.glob(f'.{bag}.*'):
            shutil.rmtree(leftover, ignore_errors=True)


def describe(plan: DatasetPlan) -> dict[str, Any]:
    """What the description of the data set says before it is complete.

    Raises:
        SceneError, ProfileError, FileNotFoundError: the scene or the radar cannot be used.
        DatasetError: heatmaps of this radar cannot be formed as asked.
    """
    scene = _scene(plan.scene, plan.overrides, plan.camera_shift, plan.camera_turn_deg)
    profile = _former(plan.radar, plan.device, plan.formation).profile
    instances = [plan.instance(index) for index in range(plan.instances)]
    info = serialize(profile_to_info(profile, 0, RADAR_FRAME, RosbagsTypes()))
    splits = [instance.split for instance in instances]
    settings = {
        **asdict(plan),
        'overrides': list(plan.overrides),
        'formation': list(plan.formation),
        'image_size': list(plan.image_size),
        'scene': scene.name,
        'radar': profile.name,
    }
    for name, usual in LATER_SETTINGS.items():
        if settings[name] == usual:
            del settings[name]
    return {
        'format': FORMAT,
        'generator': f'radio_visual_ssl {radio_visual_ssl.__version__}',
        **settings,
        # what these names stood for: a set is not finished with another scene or radar than it was begun with
        'digest': hashlib.sha256(f'{scene!r} {info!r} {profile.front_end!r}'.encode()).hexdigest()[:16],
        'splits': {split: splits.count(split) for split in ('train', 'val', 'test')},
        'bags': [_describe_instance(instance, lay_out(scene, instance.seed)) for instance in instances],
        'complete': False,
    }


def _describe_instance(instance: Instance, layout: Layout) -> dict[str, Any]:
    return {
        'bag': instance.bag,
        'split': instance.split,
        'seed': instance.seed,
        'frames': instance.frames,
        'targets': [body.kind for body, _ in layout.movers],
        'hour': round(layout.light.hour, 2),
        'visibility_m': round(layout.light.visibility),
    }


def _take_over(folder: Path, content: dict[str, Any]) -> None:
    """Begin the description, or see that what is there is of the same plan; one without any bag is replaced.

    Raises:
        DatasetError: the folder holds something else.
    """
    path = folder / DESCRIPTION
    if not path.exists():
        present = [entry.name for entry in folder.iterdir() if not entry.name.startswith(f'.{DESCRIPTION}.')]
        if present:
            raise DatasetError(f'{folder}: expected a new or empty folder, or a data set; it holds {present[0]}')
        _write_description(folder, content)
        return
    found = read_mapping(path, DatasetError)
    begun = [entry for entry in folder.iterdir() if not entry.name.startswith('.') and entry != path]
    for key in dict.fromkeys((*content, *LATER_SETTINGS)):
        there, asked = found.get(key), content.get(key)
        if key != 'complete' and there != asked and not begun:
            _remove_unfinished(folder, _bags_of(found))
            _write_description(folder, content)
            return
        if key != 'complete' and there != asked:
            raise DatasetError(
                f'{folder}: holds a data set of other settings: {key} is {there!r} there, {asked!r} was asked'
            )


def _bags_of(description: dict[str, Any]) -> list[str]:
    """Names of the bags in a description, as far as it has any."""
    entries = description.get('bags')
    names = [entry.get('bag') for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return [name for name in names if isinstance(name, str) and re.fullmatch(r'\w[\w.-]*', name)]


def _write_description(folder: Path, content: dict[str, Any]) -> None:
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=200)
    with replacing(folder / DESCRIPTION) as temporary:
        temporary.write_text(text, encoding='utf-8')


def _make(plan: DatasetPlan, folder: Path, missing: list[Instance], workers: int) -> Generator[int, None, None]:
    """Yields the frames of each instance as it gets done.

    Work is always done in processes of their own, with one thread each, so that the number of workers changes nothing.
    """
    if not missing:
        return
    with worker_processes(min(workers, len(missing))) as pool:
        jobs = [pool.submit(write_instance, plan, instance, folder) for instance in missing]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BrokenProcessPool as error:
            raise DatasetError(f'{folder}: a worker process died; the same command again goes on') from error


def write_instance(plan: DatasetPlan, instance: Instance, folder: Path) -> int:
    """Write the bag of one instance, in one piece.

    Returns:
        Frames written.
    """
    former = _former(plan.radar, plan.device, plan.formation)
    profile = former.profile
    module, _, name = BACKENDS[plan.backend].partition(':')
    player = getattr(importlib.import_module(module), name)
    simulator: Simulator = player(
        _scene(plan.scene, plan.overrides, plan.camera_shift, plan.camera_turn_deg),
        profile,
        instance.seed,
        former.grid,
        plan.image_size,
        plan.device,
    )
    first_ns = (instance.index + 1) * _SECONDS_APART * 1_000_000_000
    with BagWriter(folder / instance.bag, plan.compress) as bag:
        bag_writer = _FrameWriter(bag, simulator, former, plan, first_ns)
        for frame in range(instance.frames):
            bag_writer.write(plan.begin_s + frame / plan.rate)
    return instance.frames


@cache
def _scene(name: str, overrides: tuple[str, ...], camera_shift: float, camera_turn_deg: float) -> Scene:
    return _loose_camera(load_scene(name, overrides), camera_shift, camera_turn_deg)


def _loose_camera(scene: Scene, shift: float, turn_deg: float) -> Scene:
    """A scene with a camera that every instance mounts a little differently; 0 = as the scene says.

    Raises:
        DatasetError: so far that it would look up or down, or beyond all reason.
    """
    camera = scene.camera
    try:
        camera = replace(camera, shift=shift or camera.shift, turn_deg=turn_deg or camera.turn_deg)
        return replace(scene, camera=camera)
    except ValueError as error:
        raise DatasetError(f'camera: {error}') from error


@cache
def _former(radar: str, device: str, formation: tuple[str, ...]) -> HeatmapFormer:
    """One of each radar for all bags of a process; FFTW measures which plan is fast: it would not repeat to the bit.

    Raises:
        DatasetError: formation settings that there are not, or that the radar does not allow.
    """
    profile = load_profile(radar)
    beams = max(64, 2 * profile.num_virtual_channels)
    usual = FormationSettings(azimuth_bins=beams, transform='scipy', threads=1, device=device)
    try:
        return HeatmapFormer(profile, usual.changed(formation, _FIXED_FORMATION))
    except ValueError as error:
        raise DatasetError(str(error)) from error


class _FrameWriter:
    """Writes the pairs of one simulator."""

    def __init__(
        self, bag: BagWriter, simulator: Simulator, former: HeatmapFormer, plan: DatasetPlan, first_ns: int
    ) -> None:
        self._bag, self._simulator, self._former, self._plan = bag, simulator, former, plan
        self._first_ns, self._types = first_ns, RosbagsTypes()
        self._described = False
        camera, types = simulator.camera, self._types
        place = -camera.rotation.T @ camera.translation
        transforms = [
            transform_to_message(camera.rotation.T, place, first_ns, types, parent=RADAR_FRAME, child=CAMERA_FRAME)
        ]
        if simulator.layout.ego is None:
            transforms.append(self._radar_in(MAP_FRAME, 0.0, first_ns))
        self._put('/tf_static', first_ns, types('tf2_msgs/msg/TFMessage')(transforms=transforms))
        self._put('/radar/info', first_ns, profile_to_info(simulator.profile, first_ns, RADAR_FRAME, types))
        self._put('/camera/camera_info', first_ns, camera_to_info(camera, first_ns, CAMERA_FRAME, types))

    def write(self, time: float) -> None:
        """Write the pair at a time of the scene in s."""
        types, stamp_ns = self._types, self._first_ns + round(time * 1e9)
        frame = self._simulator.frame(time)
        if self._simulator.layout.ego is not None:
            transform = self._radar_in(ODOM_FRAME, time, stamp_ns)
            self._put('/tf', stamp_ns, types('tf2_msgs/msg/TFMessage')(transforms=[transform]))
        cube = RadarCube(frame.cube, self._simulator.cube_axes)
        if self._plan.cube:
            self._put('/radar/cube', stamp_ns, cube_to_message(cube, stamp_ns, RADAR_FRAME, types))
        else:
            heatmap = self._former.form(canonical(cube, self._simulator.profile))
            if not self._described:
                info = heatmap_to_info(heatmap, stamp_ns, RADAR_FRAME, types)
                self._put('/radar/heatmap_info', stamp_ns, info)
                self._described = True
            self._put('/radar/heatmap', stamp_ns, heatmap_to_image(heatmap, stamp_ns, RADAR_FRAME, types))
            if heatmap.velocity is not None:
                self._put('/radar/velocity', stamp_ns, velocity_to_image(heatmap, stamp_ns, RADAR_FRAME, types))
        if self._plan.raw_images:
            image = image_to_message(frame.image, 'rgb8', stamp_ns, CAMERA_FRAME, types)
            self._put('/camera/image_raw', stamp_ns, image)
        else:
            image = image_to_compressed(frame.image, 'rgb8', stamp_ns, CAMERA_FRAME, types, jpeg_quality=_JPEG_QUALITY)
            self._put('/camera/image_raw/compressed', stamp_ns, image)
        self._put('/camera/mask', stamp_ns, image_to_message(frame.mask, 'mono8', stamp_ns, CAMERA_FRAME, types))
        truth = targets_to_message(frame.targets, stamp_ns, RADAR_FRAME, types)
        self._put('/ground_truth/targets', stamp_ns, truth)

    def _put(self, topic: str, stamp_ns: int, message: Any) -> None:
        self._bag.write(topic, stamp_ns, message)

    def _radar_in(self, parent: str, time: float, stamp_ns: int) -> Any:
        """Where the radar is in the scene."""
        rotation, place = self._simulator.radar_in_scene(time)
        return transform_to_message(rotation, place, stamp_ns, self._types, parent=parent, child=RADAR_FRAME)
