# SPDX-License-Identifier: Apache-2.0
"""A simulated radar and camera, live: raw cubes, images and ground truth of a scene."""

from collections.abc import Mapping

from geometry_msgs.msg import TransformStamped
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from radio_visual_ssl.bags.messages import (
    RclpyTypes,
    camera_to_info,
    cube_to_message,
    image_to_message,
    profile_to_info,
    stamp_from_ns,
    targets_to_message,
    transform_to_message,
)
from radio_visual_ssl.msg import RadarCube as RadarCubeMessage
from radio_visual_ssl.msg import RadarInfo, TargetArray
from radio_visual_ssl.nodes.base import ManagedNode
from radio_visual_ssl.nodes.markers import TRUTH, target_markers
from radio_visual_ssl.nodes.parameters import ParameterSpec, Value
from radio_visual_ssl.nodes.qos import latched_qos
from radio_visual_ssl.radar.cube import RadarCube
from radio_visual_ssl.radar.profile import load_profile
from radio_visual_ssl.simulation.scene import load_scene
from radio_visual_ssl.simulation.simulator import Simulator

PARAMETERS = (
    ParameterSpec('scene', 'parking_lot', 'Scene: a name in config/scenes/ or a path.', static=True),
    ParameterSpec('radar', 'ofdm_28ghz_400mhz_16rx', 'Radar profile: a name in config/radars/ or a path.', static=True),
    ParameterSpec('seed', 0, 'Draws what the scene leaves open, and the noise.', 0, static=True),
    ParameterSpec('rate', 10.0, 'Frames per second.', 0.1, 1000.0, static=True),
    ParameterSpec('start_time', 0.0, 'Seconds of the scene at which it starts.', 0.0, static=True),
    ParameterSpec('frame_prefix', '', "Before the frames 'radar' and 'camera', for instance 'sensor1/'.", static=True),
)


class SimulatorNode(ManagedNode):
    """Plays a scene: the same seed gives the same frames, whenever they are made.

    Frame k shows the scene at ``start_time + k / rate`` and is stamped k / rate after the first one: stamps and scene
    keep step. A machine too slow for the rate falls behind; the stamps then jump to the present, and the scene waits.

    Out: ``radar/cube``, the latched ``radar/info``, ``camera/image_raw``, the latched ``camera/camera_info``,
    ``ground_truth/targets``; while somebody looks ``ground_truth/markers`` and ``camera/mask`` (mono8: the track id of
    the target in each pixel); the camera's place on /tf_static, and the radar's in the frame 'map' there, or in 'odom'
    on /tf where the scene has a moving vehicle.
    """

    def __init__(self) -> None:
        """Declare the parameters."""
        super().__init__('simulator_node', PARAMETERS)
        self._types = RclpyTypes()
        self._simulator: Simulator | None = None
        self._publishers_of: dict[str, Publisher] = {}
        self._frame = 0
        self._first_frame = 0
        self._first_stamp_ns = 0
        self._late = 0

    def configure(self) -> None:
        """Lay out the scene and make the outputs."""
        profile = load_profile(self.value('radar'))
        self._simulator = Simulator(load_scene(self.value('scene')), profile, self.value('seed'))
        self.hardware_id = profile.name
        self._frame = 0
        self._publishers_of = {
            'cube': self.add_output(RadarCubeMessage, 'radar/cube'),
            'info': self.add_output(RadarInfo, 'radar/info', latched_qos()),
            'image': self.add_output(Image, 'camera/image_raw'),
            'camera_info': self.add_output(CameraInfo, 'camera/camera_info', latched_qos()),
            'mask': self.add_output(Image, 'camera/mask'),
            'truth': self.add_output(TargetArray, 'ground_truth/targets'),
            'truth_markers': self.add_output(MarkerArray, 'ground_truth/markers'),
            'tf': self.add_output(TFMessage, '/tf'),
            'tf_static': self.add_output(TFMessage, '/tf_static', latched_qos()),
        }

    def activate(self) -> None:
        """Say what the sensors are, and start."""
        assert self._simulator is not None
        self._start_at(self.get_clock().now().nanoseconds)
        stamp_ns, types, camera = self._first_stamp_ns, self._types, self._simulator.camera
        send = {name: publisher.publish for name, publisher in self._publishers_of.items()}
        send['info'](profile_to_info(self._simulator.profile, stamp_ns, self._name('radar'), types))
        place, radar, child = -camera.rotation.T @ camera.translation, self._name('radar'), self._name('camera')
        mounting = [transform_to_message(camera.rotation.T, place, stamp_ns, types, parent=radar, child=child)]
        if self._simulator.layout.ego is None:
            mounting.append(self._radar_in('map', 0.0, stamp_ns))
        send['tf_static'](TFMessage(transforms=mounting))
        self.add_timer('frames', 1.0 / self.value('rate'), self._make_frame)

    def cleanup(self) -> None:
        """Forget the scene."""
        self._simulator = None
        self._publishers_of = {}

    def check_parameters(self, values: Mapping[str, Value]) -> None:
        """Refuse a prefix that makes no frame name."""
        prefix = str(values['frame_prefix'])
        if prefix.startswith('/') or ' ' in prefix:
            raise ValueError(f"parameter 'frame_prefix': expected no leading slash and no space, got {prefix!r}")

    def notes(self) -> dict[str, str]:
        """How far the scene is, and whether the machine keeps up."""
        return {'frames': str(self._frame), 'late_frames': str(self._late)}

    def _name(self, frame: str) -> str:
        return f'{self.value("frame_prefix")}{frame}'

    def _start_at(self, stamp_ns: int) -> None:
        self._first_stamp_ns = stamp_ns
        self._first_frame = self._frame

    def _make_frame(self) -> None:
        assert self._simulator is not None
        rate, types = self.value('rate'), self._types
        stamp_ns = self._first_stamp_ns + round((self._frame - self._first_frame) * 1e9 / rate)
        now_ns = self.get_clock().now().nanoseconds
        if abs(now_ns - stamp_ns) > 2e9 / rate:
            self._late += 1
            self._start_at(now_ns)
            stamp_ns = now_ns
        moment = self.value('start_time') + self._frame / rate
        frame = self._simulator.frame(moment)
        self._frame += 1
        radar, camera = self._name('radar'), self._name('camera')
        send = {name: publisher.publish for name, publisher in self._publishers_of.items()}
        if self._simulator.layout.ego is not None:
            send['tf'](TFMessage(transforms=[self._radar_in('odom', moment, stamp_ns)]))
        send['cube'](cube_to_message(RadarCube(frame.cube, self._simulator.cube_axes), stamp_ns, radar, types))
        send['camera_info'](camera_to_info(frame.camera, stamp_ns, camera, types))
        send['image'](image_to_message(frame.image, 'rgb8', stamp_ns, camera, types))
        if self._publishers_of['mask'].get_subscription_count():
            send['mask'](image_to_message(frame.mask, 'mono8', stamp_ns, camera, types))
        send['truth'](targets_to_message(frame.targets, stamp_ns, radar, types))
        if self._publishers_of['truth_markers'].get_subscription_count():
            header = Header(stamp=stamp_from_ns(stamp_ns, types), frame_id=radar)
            send['truth_markers'](target_markers(frame.targets, header, 'ground_truth', TRUTH, 5.0 / rate))

    def _radar_in(self, parent: str, moment: float, stamp_ns: int) -> TransformStamped:
        """Where the radar is in the scene."""
        assert self._simulator is not None
        rotation, place = self._simulator.radar_in_scene(moment)
        names = {'parent': self._name(parent), 'child': self._name('radar')}
        return transform_to_message(rotation, place, stamp_ns, self._types, **names)
