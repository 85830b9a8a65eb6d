# SPDX-License-Identifier: Apache-2.0
"""Heatmaps in, targets out, by a classical or learned back end."""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.publisher import Publisher
from rclpy.timer import Timer
from sensor_msgs.msg import Image, PointCloud2
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from radio_visual_ssl.bags.messages import (
    MessageError,
    RclpyTypes,
    check_finite,
    geometry_from_info,
    heatmap_from_messages,
    stamp_to_ns,
    targets_to_detections3d,
    targets_to_message,
    targets_to_points,
)
from radio_visual_ssl.evaluation.backends import AUTO, BACKENDS, automatic_backend, settings_file, shipped_settings
from radio_visual_ssl.models.network_settings import shipped_model
from radio_visual_ssl.msg import HeatmapInfo, TargetArray
from radio_visual_ssl.nodes.base import LATER, ManagedNode
from radio_visual_ssl.nodes.diagnostics import WAITING, StreamHealth
from radio_visual_ssl.nodes.markers import DETECTION, target_markers
from radio_visual_ssl.nodes.parameters import (
    ParameterSpec,
    Value,
    settings_from_parameters,
    specs_from_settings,
    to_parameter,
)
from radio_visual_ssl.nodes.qos import latched_qos
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.localizer import Localizer
from radio_visual_ssl.radar.target import Target

PARAMETERS = (
    ParameterSpec(
        'backend',
        AUTO,
        'What finds the targets; auto: the network where network.model names one or one ships for the radar and fits '
        'its heatmaps, else cfar.',
        choices=(AUTO, *BACKENDS),
        static=True,
    ),
    ParameterSpec(
        'expected_radar',
        '',
        'Name of the radar to come, if known: what finds its targets is loaded before the first heatmap.',
        static=True,
    ),
    ParameterSpec(
        'backend_settings',
        'auto',
        "Settings under the back end's own parameters: 'auto' (those shipped for the radar that the heatmap info "
        "names and, of networks, for its model, if any), 'default', a name in config/<backend>/, or a path.",
    ),
    ParameterSpec('use_velocity', True, 'Use radar/velocity where somebody publishes it.', static=True),
    ParameterSpec(
        'velocity_timeout',
        0.1,
        'Seconds that a heatmap waits for the velocities of its stamp.',
        0.001,
        10.0,
        static=True,
    ),
    ParameterSpec(
        'nominal_size', [1.0, 1.0, 1.0], 'Length, width and height (m) of detections of unknown size.', minimum=0.0
    ),
    ParameterSpec('marker_lifetime', 1.0, 'Seconds after which markers vanish where no heatmap follows.', 0.0, 3600.0),
    *(
        spec
        for name, backend in BACKENDS.items()
        for spec in specs_from_settings(backend.settings(), f'{name}.', backend.bounds)
    ),
)


class LocalizerNode(ManagedNode):
    """Finds targets in each heatmap; each heatmap gives one message on each output, with its stamp and frame.

    In: ``radar/heatmap``, the latched ``radar/heatmap_info`` and, paired by exact stamp, ``radar/velocity``.
    Out: ``localizer/detections``, ``localizer/targets``, ``localizer/points`` and ``localizer/markers``.
    """

    def __init__(self) -> None:
        """Declare the parameters."""
        super().__init__('localizer_node', PARAMETERS)
        self._types = RclpyTypes()
        self._backend = ''  # that runs; empty until the first heatmap tells
        self._localizer: Localizer | None = None
        self._undecided = False  # whether a heatmap with a velocity chooses anew
        self._info: Any = None
        self._settings_of: str | None = None
        self._chosen: set[str] = {name for name in self._specs if self.is_given(name)}
        self._last_stamp_ns = 0
        self._velocities: deque[Any] = deque(maxlen=2 * WAITING)  # they may run ahead of heatmaps that wait
        self._held: Any = None
        self._patience: Timer | None = None
        self._without_velocity = 0
        self._heatmaps: StreamHealth | None = None
        self._publishers_of: dict[str, Publisher] = {}

    def configure(self) -> None:
        """Build the back end, where it is known before the radar, and make the outputs."""
        self._forget_back_end()
        self._settings_of = None
        named = _named_backend(self.values())
        if named:
            self._build(named, None if self.value('backend_settings') == 'auto' else '')
        else:
            self._prepare(self.value('expected_radar'))
        self._publishers_of = {
            'detections': self.add_output(Detection3DArray, 'localizer/detections'),
            'targets': self.add_output(TargetArray, 'localizer/targets'),
            'points': self.add_output(PointCloud2, 'localizer/points'),
            'markers': self.add_output(MarkerArray, 'localizer/markers'),
        }

    def activate(self) -> None:
        """Listen to the heatmaps."""
        self._held = None
        self._velocities.clear()
        self.add_input(HeatmapInfo, 'radar/heatmap_info', self._take_info, latched_qos(), may_be_silent=True)
        if self.value('use_velocity'):
            self.add_input(Image, 'radar/velocity', self._take_velocity, may_be_silent=True)
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            self._patience = self.add_timer(
                'wait for radar/velocity', self.value('velocity_timeout'), self._localize_held, steady
            )
            self._patience.cancel()
        self._heatmaps = self.add_input(
            Image,
            'radar/heatmap',
            self._take_heatmap,
            ready=lambda: self._info is not None,
            waits_for='radar/heatmap_info',
        )

    def deactivate(self) -> None:
        """Let go of the heatmap that waits."""
        self._held = self._patience = None

    def cleanup(self) -> None:
        """Forget radar and background."""
        self._forget_back_end()
        self._info = self._heatmaps = self._settings_of = None
        self._last_stamp_ns = 0
        self._publishers_of = {}

    def notes(self) -> dict[str, str]:
        """Which back end, with which settings."""
        notes = {'backend': self._backend or self.value('backend'), 'settings': self._settings_of or 'default'}
        checkpoint = getattr(self._localizer, 'checkpoint', None)
        if checkpoint is not None:
            notes['model'] = str(checkpoint.path)
        if self._without_velocity:
            notes['heatmaps_without_velocity'] = str(self._without_velocity)
        return notes

    # ---- back end and settings

    def check_parameters(self, values: Mapping[str, Value]) -> None:
        """Refuse settings that the back end refuses."""
        backend = _named_backend(values)
        for name in (backend,) if backend else BACKENDS:
            settings_from_parameters(BACKENDS[name].settings, f'{name}.', values)
        chosen = str(values['backend_settings'])
        if chosen not in ('auto', self.value('backend_settings')):
            self._read_settings(backend or self._backend or 'cfar', chosen)

    def parameters_changed(self, names: set[str]) -> None:
        """Build the back end anew; it keeps what it has learned of the background where its settings allow."""
        before = self._chosen
        self._chosen = before | {name for name in names if name.partition('.')[0] in BACKENDS}
        try:
            self._take_over(names)
        except Exception:
            self._chosen = before
            raise

    def _take_over(self, names: set[str]) -> None:
        """Build what changed parameters call for; what does not concern it is told."""
        named = _named_backend(self.values())
        backend = named or self._backend
        if not backend:
            return
        # settings that ship go with the model that ships
        asked = 'backend_settings' in names or ('network.model' in names and self.value('backend_settings') == 'auto')
        if asked or backend != self._backend:
            self._build(backend, self._info.radar if self._info is not None else '')
        elif any(name.startswith(f'{backend}.') for name in names):
            self._build(backend)
        self._undecided = self._undecided and not named
        for name in sorted(names):
            owner = name.partition('.')[0]
            if owner in BACKENDS and owner != backend:
                self.get_logger().warning(f'{name} is kept for back end {owner}, but back end {backend} runs')

    def _prepare(self, radar: str) -> None:
        """Load what the network that ships for a radar needs, which takes seconds, before the first heatmap comes."""
        file = shipped_model(radar)
        if file is None:
            return
        network = BACKENDS['network']
        try:
            network.make(network.settings(model=str(file)), None)
        except ValueError as error:
            self.get_logger().warning(f'{file} is not prepared for radar {radar!r}: {error}')

    def _decide(self, heatmap: Heatmap) -> None:
        """Choose the back end that the radar of this heatmap calls for, and build it."""
        named = _named_backend(self.values())
        backend, why = (named, '') if named else automatic_backend(heatmap)
        undecided = False
        if not named and heatmap.velocity is None and backend != 'network' and self.value('use_velocity'):
            # one velocity may be lost or late: it alone must not decide for the whole session
            undecided = automatic_backend(replace(heatmap, velocity=np.zeros_like(heatmap.values)))[0] == 'network'
            why += '; until radar/velocity comes' if undecided else ''
        self._build(backend, heatmap.radar if self.value('backend_settings') == 'auto' else None)
        self._undecided = undecided
        self._tell(heatmap.radar, heatmap.grid, why)

    def _tell(self, radar: str, grid: PolarGrid, why: str = '') -> None:
        self.get_logger().info(
            f'radar {radar!r}: {grid.shape[0]} range x {grid.shape[1]} azimuth bins, backend {self._backend} '
            f'with settings {self._settings_of or "default"}{why and f" ({why})"}'
        )

    def _load_settings(self, backend: str, radar: str) -> str:
        """Put the settings file under the parameters that the user did not choose; its name."""
        chosen: str = self.value('backend_settings')
        if chosen == 'auto':
            file = shipped_settings(backend, radar, self.value('network.model'))
            chosen = 'default' if file is None else file.stem
        settings = self._read_settings(backend, chosen)
        values = {f'{backend}.{name}': to_parameter(value) for name, value in vars(settings).items()}
        self.overwrite({name: value for name, value in values.items() if name not in self._chosen})
        return chosen

    def _read_settings(self, backend: str, name: str) -> Any:
        """A back end's settings of a name or path.

        Raises:
            ValueError: no such file, or one that the back end refuses; the message names the file and the field.
        """
        if name == 'default':
            return BACKENDS[backend].settings()
        try:
            file = settings_file(backend, name)
        except ValueError as error:
            raise ValueError(f"parameter 'backend_settings': {error}") from error
        return BACKENDS[backend].load(file)

    def _build(self, backend: str, radar: str | None = None) -> None:
        """Make a back end, which takes over what the one that runs has learned, if it is of the same kind.

        Args:
            backend: one of `BACKENDS`.
            radar: for which settings are put under the parameters first; None = they stay as they are.

        Raises:
            ValueError: settings or a model that cannot be; what runs goes on.
        """
        settings_of = self._settings_of if radar is None else self._load_settings(backend, radar)
        kind = BACKENDS[backend]
        settings = settings_from_parameters(kind.settings, f'{backend}.', self.values())
        localizer = kind.make(settings, self._localizer if backend == self._backend else None)
        self._backend, self._localizer, self._settings_of = backend, localizer, settings_of

    def _forget_back_end(self) -> None:
        self._backend, self._localizer, self._undecided = '', None, False

    # ---- messages

    def _take_info(self, info: Any) -> None:
        """Take over what the heatmaps mean; another radar starts afresh."""
        radar = geometry_from_info(info)
        # A model is chosen by what is told, so that any change of it counts, a name that was unknown before too.
        changed = self._info is None or geometry_from_info(self._info) != radar
        self._info = info
        if changed:
            self.hardware_id = radar.name
            self._radar_changed(radar.name, radar.grid)
        if self._heatmaps is not None:
            self.release(self._heatmaps, self._take_heatmap)

    def _radar_changed(self, radar: str, grid: PolarGrid) -> None:
        """Start afresh, with the back end and the settings for the radar."""
        why = ''
        self._forget_back_end()
        if 'network.model' not in self._chosen:
            self.overwrite({'network.model': 'auto'})  # what settings of the radar before may have set
        backend = _named_backend(self.values())
        if not backend and shipped_model(radar) is None:
            backend, why = 'cfar', f'no model ships for radar {radar!r}'
        if not backend:
            return  # the first heatmap tells
        self._build(backend, radar if self.value('backend_settings') == 'auto' else None)
        self._tell(radar, grid, why)

    def _take_velocity(self, message: Any) -> None:
        self._velocities.append(message)
        if self._held is not None and self._held.header.stamp == message.header.stamp:
            self._localize_held()

    def _take_heatmap(self, message: Any) -> Any:
        self._localize_held()
        velocity = self._velocity_of(message)
        if velocity is None and self._velocity_is_coming():
            assert self._patience is not None
            self._held = message
            self._patience.reset()
            return LATER
        self._localize(message, velocity)
        return None

    def _velocity_is_coming(self) -> bool:
        """Whether to wait for velocities: somebody sends them, or there is no localizing without."""
        if not self.value('use_velocity'):
            return False
        needed = self._localizer is None or self._localizer.needs_velocity
        return needed or self.count_publishers(self.resolve_topic_name('radar/velocity')) > 0  # that follows remaps

    def _localize_held(self) -> None:
        """The heatmap that waited, if any, with its velocities, if they have come."""
        message, self._held = self._held, None
        if self._patience is not None:
            self._patience.cancel()
        if message is None or self._heatmaps is None:
            return
        velocity = self._velocity_of(message)
        self._without_velocity += velocity is None
        self.deliver(self._heatmaps, lambda heatmap: self._localize(heatmap, velocity), message)

    def _velocity_of(self, message: Any) -> Any | None:
        return next((entry for entry in self._velocities if entry.header.stamp == message.header.stamp), None)

    def _localize(self, message: Any, velocity: Any | None) -> None:
        heatmap = heatmap_from_messages(message, self._info, velocity)
        check_finite(heatmap.values, 'Image.data')
        if heatmap.velocity is not None:
            _check_velocity(heatmap.velocity)
        stamp_ns = stamp_to_ns(message.header.stamp)
        if stamp_ns < self._last_stamp_ns:
            back = (self._last_stamp_ns - stamp_ns) * 1e-9
            self.get_logger().info(f'{message.header.frame_id}: stamps jumped back by {back:.3f} s; starting afresh')
            if self._localizer is not None:
                self._localizer.reset()
        self._last_stamp_ns = stamp_ns
        if self._localizer is None or (self._undecided and heatmap.velocity is not None):
            self._decide(heatmap)
        assert self._localizer is not None
        self._publish(self._localizer.localize(heatmap), message.header, stamp_ns)

    def _publish(self, targets: list[Target], header: Any, stamp_ns: int) -> None:
        frame_id, types = header.frame_id, self._types
        publishers = self._publishers_of
        size = tuple(self.value('nominal_size'))
        publishers['detections'].publish(targets_to_detections3d(targets, stamp_ns, frame_id, types, size))
        publishers['targets'].publish(targets_to_message(targets, stamp_ns, frame_id, types))
        publishers['points'].publish(targets_to_points(targets, stamp_ns, frame_id, types))
        if publishers['markers'].get_subscription_count():
            lifetime = self.value('marker_lifetime')
            publishers['markers'].publish(target_markers(targets, header, 'localizer', DETECTION, lifetime))


def _check_velocity(velocity: NDArray[np.float32]) -> None:
    """Refuse velocities (m/s) that are infinite; NaN is an unknown one.

    Raises:
        MessageError: there is one; the message counts them.
    """
    infinite = int(np.count_nonzero(np.isinf(velocity)))
    if infinite:
        raise MessageError(
            f'Image.data of radar/velocity: expected finite numbers, or NaN where unknown, got infinity in {infinite} '
            f'of {velocity.size} elements'
        )


def _named_backend(values: Mapping[str, Value]) -> str:
    """The back end that the parameters ask for by its name, its model or its settings; '' = the radar decides."""
    if values['backend'] != AUTO:
        return str(values['backend'])
    if values['network.model'] != 'auto':
        return 'network'
    return '' if values['backend_settings'] in ('auto', 'default') else 'cfar'
