# SPDX-License-Identifier: Apache-2.0
"""Raw radar cubes in, range-azimuth heatmaps out, with a picture of them for the eye."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecyclePublisher
from sensor_msgs.msg import Image

from radio_visual_ssl.bags.messages import (
    MessageError,
    RclpyTypes,
    check_finite,
    cube_from_message,
    heatmap_from_messages,
    heatmap_to_image,
    heatmap_to_info,
    image_to_message,
    profile_from_info,
    stamp_to_ns,
    velocity_to_image,
)
from radio_visual_ssl.msg import HeatmapInfo, RadarCube, RadarInfo
from radio_visual_ssl.nodes.base import ManagedNode
from radio_visual_ssl.nodes.diagnostics import StreamHealth
from radio_visual_ssl.nodes.parameters import (
    ParameterSpec,
    Value,
    name_parameter,
    settings_from_parameters,
    specs_from_settings,
)
from radio_visual_ssl.nodes.preview import COLOUR_MAPS, Preview
from radio_visual_ssl.nodes.qos import latched_qos
from radio_visual_ssl.radar.cube import canonical
from radio_visual_ssl.radar.formation import FormationSettings, HeatmapFormer
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.profile import RadarProfile, load_profile

FORMATION = 'formation.'

NODE_FORMATION = FormationSettings(threads=1)
"""Defaults of the node: transforms on several threads wait for one another where other nodes share the cores."""

PARAMETERS = (
    ParameterSpec(
        'input',
        'cube',
        'cube: form heatmaps from radar/cube; heatmap: the radar sends heatmaps itself, make only their preview.',
        choices=('cube', 'heatmap'),
        static=True,
    ),
    ParameterSpec(
        'radar',
        '',
        'Radar profile, a name in config/radars/ or a path, for drivers that send no radar/info; empty: radar/info.',
        static=True,
    ),
    ParameterSpec(
        'radar_name', '', "Name of the radar in the heatmap info; empty: the profile's, or the frame of radar/info."
    ),
    *specs_from_settings(NODE_FORMATION, FORMATION),
    ParameterSpec(
        'preview.view', 'cartesian', 'Look down on the ground, or at the bins.', choices=('cartesian', 'polar')
    ),
    ParameterSpec('preview.colour_map', 'viridis', 'Colours of the preview.', choices=tuple(COLOUR_MAPS)),
    ParameterSpec('preview.height', 480, 'Pixels of the preview.', 64, 2160),
    ParameterSpec('preview.minimum_db', math.nan, 'dB of the darkest colour; NaN: follow the heatmap.'),
    ParameterSpec('preview.maximum_db', math.nan, 'dB of the brightest colour; NaN: follow the heatmap.'),
)


class HeatmapNode(ManagedNode):
    """Forms a heatmap from each radar cube, with the stamp and frame of the cube.

    In: ``radar/cube`` and the latched ``radar/info``. Out: ``radar/heatmap``, the latched ``radar/heatmap_info``,
    ``radar/velocity`` where the radar measures it, and ``radar/heatmap/preview`` while somebody looks.
    """

    def __init__(self) -> None:
        """Declare the parameters."""
        super().__init__('heatmap_node', PARAMETERS)
        self._types = RclpyTypes()
        self._former: HeatmapFormer | None = None
        self._ego_velocity: NDArray[np.float64] | None = None
        self._info: Any = None
        self._announced: Any = None
        self._preview: Preview | None = None
        self._source: StreamHealth | None = None
        self._outputs_of: dict[str, LifecyclePublisher] = {}

    def configure(self) -> None:
        """Make the outputs, and plan where the radar is known already."""
        cubes = self.value('input') == 'cube'
        self._outputs_of = {'preview': self.add_output(Image, 'radar/heatmap/preview')}
        if cubes:
            self._outputs_of['heatmap'] = self.add_output(Image, 'radar/heatmap')
            self._outputs_of['info'] = self.add_output(HeatmapInfo, 'radar/heatmap_info', latched_qos())
            # before the radar is known: who needs velocities is to hear those of the first cube
            self._outputs_of['velocity'] = self.add_output(Image, 'radar/velocity')
        if cubes and self.value('radar'):
            self._plan(load_profile(self.value('radar')))

    def activate(self) -> None:
        """Listen to the radar."""
        if self.value('input') == 'heatmap':
            self.add_input(
                HeatmapInfo, 'radar/heatmap_info', self._take_heatmap_info, latched_qos(), may_be_silent=True
            )
            self._source = self.add_input(
                Image,
                'radar/heatmap',
                self._show,
                ready=lambda: self._info is not None,
                waits_for='radar/heatmap_info',
            )
            return
        if not self.value('radar'):
            self.add_input(RadarInfo, 'radar/info', self._take_info, latched_qos(), may_be_silent=True)
        self._source = self.add_input(
            RadarCube, 'radar/cube', self._form, ready=lambda: self._former is not None, waits_for='radar/info'
        )

    def cleanup(self) -> None:
        """Forget radar and plans."""
        self._former = self._info = self._announced = self._preview = self._source = None
        self._outputs_of = {}

    def check_parameters(self, values: Mapping[str, Value]) -> None:
        """Refuse formation settings that the former refuses."""
        settings = settings_from_parameters(FormationSettings, FORMATION, values)
        if self._former is not None:
            try:
                HeatmapFormer(self._former.profile, settings)
            except ValueError as error:
                raise ValueError(name_parameter(FORMATION, str(error), vars(settings))) from error
        low, high = values['preview.minimum_db'], values['preview.maximum_db']
        if low >= high:
            raise ValueError(f"parameter 'preview.maximum_db': expected more than preview.minimum_db {low}, got {high}")

    def parameters_changed(self, names: set[str]) -> None:
        """Plan again with new settings."""
        if self._former is not None and any(name.startswith(FORMATION) or name == 'radar_name' for name in names):
            self._plan(self._former.profile)
        self._preview = None

    def notes(self) -> dict[str, str]:
        """The radar's velocity over the ground, where clutter is removed by it."""
        if self._former is None or self._former.settings.clutter_removal != 'ego_motion':
            return {}
        velocity = self._ego_velocity
        if velocity is None:
            return {'ego_velocity_m_s': 'not told: too little stands, or it passes too fast; nothing is removed'}
        return {'ego_velocity_m_s': f'{velocity[0]:.2f} ahead of the radar, {velocity[1]:.2f} to its left'}

    # ---- cubes

    def _take_info(self, info: Any) -> None:
        """Plan for a radar, unless it is the one we know."""
        if self._former is not None and _same_but_stamp(info, self._info):
            return
        self._plan(profile_from_info(info))
        self._info = info
        if self._source is not None:
            self.release(self._source, self._form)

    def _plan(self, profile: RadarProfile) -> None:
        settings = settings_from_parameters(FormationSettings, FORMATION, self.values())
        self._former = HeatmapFormer(profile, settings)
        self._announced = self._ego_velocity = None
        measured, offered = profile.waveform.slow_time_count > 1, 'velocity' in self._outputs_of
        if measured and not offered:
            self._outputs_of['velocity'] = self.add_output(Image, 'radar/velocity')
        elif offered and not measured:  # else who takes heatmaps would wait for them
            self.remove_output(self._outputs_of.pop('velocity'))
        self.hardware_id = self.value('radar_name') or profile.name
        rows, columns = self._former.grid.shape
        self.get_logger().info(f'radar {self.hardware_id}: heatmaps of {rows} range x {columns} azimuth bins')

    def _form(self, message: Any) -> None:
        assert self._former is not None
        if self._info is not None and message.header.frame_id != self._info.header.frame_id:
            raise MessageError(
                f'RadarCube.header.frame_id: expected {self._info.header.frame_id!r} of radar/info, '
                f'got {message.header.frame_id!r}'
            )
        cube = canonical(cube_from_message(message), self._former.profile)
        heatmap = self._former.form(cube)
        self._ego_velocity = heatmap.ego_velocity
        stamp_ns, frame_id = stamp_to_ns(message.header.stamp), message.header.frame_id
        self._announce(heatmap, stamp_ns, frame_id)
        if heatmap.velocity is not None:
            self._outputs_of['velocity'].publish(velocity_to_image(heatmap, stamp_ns, frame_id, self._types))
        self._outputs_of['heatmap'].publish(heatmap_to_image(heatmap, stamp_ns, frame_id, self._types))
        self._draw(heatmap, stamp_ns, frame_id)

    def _announce(self, heatmap: Heatmap, stamp_ns: int, frame_id: str) -> None:
        """Send the heatmap info where it is not what was sent last; the noise floor may waver by a decibel."""
        info = heatmap_to_info(heatmap, stamp_ns, frame_id, self._types)
        info.radar = self.hardware_id
        if self._announced is not None and _same_but_stamp(info, self._announced, noise_floor_db=1.0):
            return
        self._outputs_of['info'].publish(info)
        self._announced = info

    # ---- heatmaps of a radar that makes them itself

    def _take_heatmap_info(self, info: Any) -> None:
        self._info = info
        self.hardware_id = info.radar
        if self._source is not None:
            self.release(self._source, self._show)

    def _show(self, message: Any) -> None:
        if self._outputs_of['preview'].get_subscription_count() == 0:
            return
        heatmap = heatmap_from_messages(message, self._info)
        check_finite(heatmap.values, 'Image.data')
        self._draw(heatmap, stamp_to_ns(message.header.stamp), message.header.frame_id)

    def _draw(self, heatmap: Heatmap, stamp_ns: int, frame_id: str) -> None:
        publisher = self._outputs_of['preview']
        if publisher.get_subscription_count() == 0:
            return
        if self._preview is None or self._preview.grid != heatmap.grid:
            self._preview = Preview(
                heatmap.grid,
                self.value('preview.view'),
                self.value('preview.colour_map'),
                self.value('preview.height'),
                (self.value('preview.minimum_db'), self.value('preview.maximum_db')),
            )
        publisher.publish(image_to_message(self._preview.draw(heatmap), 'rgb8', stamp_ns, frame_id, self._types))


def _same_but_stamp(info: Any, other: Any, noise_floor_db: float = 0.0) -> bool:
    """Whether two info messages say the same, whenever they were sent."""
    for name in info.get_fields_and_field_types():
        mine, theirs = getattr(info, name), getattr(other, name)
        if name == 'header':
            same = mine.frame_id == theirs.frame_id
        elif name == 'noise_floor':
            same = mine == theirs or abs(mine - theirs) <= noise_floor_db or (math.isnan(mine) and math.isnan(theirs))
        else:
            same = mine == theirs
        if not same:
            return False
    return True
