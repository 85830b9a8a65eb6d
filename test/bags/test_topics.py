# SPDX-License-Identifier: Apache-2.0
"""Which topic lies beside which, in one place for recorder, reader and pairing."""

import pytest

from radio_visual_ssl.bags.topics import (
    CUBE_TYPE,
    IMAGE_TYPE,
    TRANSPORTS,
    camera_info_topic,
    present_image_topic,
    radar_info_topic,
    raw_image_topic,
    velocity_topic,
)


def test_what_describes_a_radar_lies_beside_it():
    assert radar_info_topic('/car/radar/cube', CUBE_TYPE) == '/car/radar/info'
    assert radar_info_topic('/car/radar/heatmap', IMAGE_TYPE) == '/car/radar/heatmap_info'
    assert radar_info_topic('radar/heatmap', IMAGE_TYPE) == 'radar/heatmap_info'
    assert velocity_topic('/car/radar/heatmap') == '/car/radar/velocity'
    assert (radar_info_topic('cube', CUBE_TYPE), velocity_topic('heatmap')) == ('info', 'velocity')


@pytest.mark.parametrize('transport', TRANSPORTS)
def test_what_a_transport_publishes_belongs_to_the_raw_images(transport):
    assert raw_image_topic(f'/left/image_raw/{transport}') == '/left/image_raw'
    assert camera_info_topic(f'/left/image_raw/{transport}') == '/left/camera_info'


def test_raw_images_are_their_own_whatever_their_name():
    assert raw_image_topic('/left/image_raw') == '/left/image_raw'
    assert raw_image_topic('/compressed_camera/picture') == '/compressed_camera/picture'
    assert camera_info_topic('/left/image_raw') == '/left/camera_info'
    assert camera_info_topic('/picture') == '/camera_info'


def test_compressed_images_stand_in_for_missing_raw_ones():
    assert present_image_topic('/a', {'/a', '/a/compressed'}) == '/a'
    assert present_image_topic('/a', {'/b', '/a/compressed'}) == '/a/compressed'
    assert present_image_topic('/a', {'/b', '/a/theora'}) == '/a', 'nobody here can decode that'
    assert present_image_topic('/a/compressed', {'/a'}) == '/a/compressed', 'what was named in full is meant'
