# SPDX-License-Identifier: Apache-2.0
"""Topics of radar and camera: their usual names and types, and which one describes or stands in for which."""

from collections.abc import Container

from radio_visual_ssl.share import PACKAGE

HEATMAP_TOPIC = '/radar/heatmap'
CUBE_TOPIC = '/radar/cube'
IMAGE_TOPIC = '/camera/image_raw'
TRUTH_TOPIC = '/ground_truth/targets'
PAIRS_TOPIC = '/pairs'

IMAGE_TYPE = 'sensor_msgs/msg/Image'
COMPRESSED_TYPE = 'sensor_msgs/msg/CompressedImage'
CUBE_TYPE = f'{PACKAGE}/msg/RadarCube'

RADAR_TYPES = (IMAGE_TYPE, CUBE_TYPE)
"""Of radar topics: heatmaps and cubes."""

PICTURE_TYPES = (IMAGE_TYPE, COMPRESSED_TYPE)
"""Of image topics that can be decoded here."""

TRANSPORTS = ('compressed', 'compressedDepth', 'theora', 'zstd', 'ffmpeg')
"""Of image_transport: each publishes one level below the raw images, under its name."""


def radar_info_topic(topic: str, message_type: str) -> str:
    """Topic of the info of a radar topic: ``/car/radar/info`` beside cubes, else ``<topic>_info``."""
    return _beside(topic, 'info') if message_type == CUBE_TYPE else f'{topic}_info'


def heatmap_topic(cube_topic: str) -> str:
    """Topic of the heatmaps that are formed of cubes: ``/car/radar/heatmap`` beside ``/car/radar/cube``."""
    return _beside(cube_topic, 'heatmap')


def velocity_topic(heatmap_topic: str) -> str:
    """Topic of the radial velocities of heatmaps: ``/car/radar/velocity`` beside ``/car/radar/heatmap``."""
    return _beside(heatmap_topic, 'velocity')


def raw_image_topic(topic: str) -> str:
    """Topic of the raw images that those of an image topic are made of; raw images are their own."""
    base, _, last = topic.rpartition('/')
    return base if last in TRANSPORTS else topic


def compressed_image_topic(topic: str) -> str:
    """Topic of the CompressedImages of raw images."""
    return f'{topic}/compressed'


def camera_info_topic(image_topic: str) -> str:
    """Topic of the CameraInfo of an image topic: ``/left/camera_info`` beside ``/left/image_raw`` and what is below."""
    return _beside(raw_image_topic(image_topic), 'camera_info')


def present_image_topic(topic: str, present: Container[str]) -> str:
    """Where the images of a topic are: there, or in the compressed ones of that name where there are no raw ones.

    Args:
        topic: that is looked for.
        present: topics that there are; the answer is the topic itself where they hold neither.
    """
    compressed = compressed_image_topic(topic)
    return compressed if topic not in present and compressed in present else topic


def _beside(topic: str, name: str) -> str:
    """Topic of another name in the same namespace."""
    base, slash, _ = topic.rpartition('/')
    return f'{base}{slash}{name}'
