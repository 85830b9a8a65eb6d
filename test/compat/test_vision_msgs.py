# SPDX-License-Identifier: Apache-2.0
"""The vision messages that other packages exchange, and tf2's: the real packages' or their stand-ins'."""

from importlib import import_module

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('vision_msgs.msg')
pytest.importorskip('tf2_msgs.msg')

from geometry_msgs.msg import TransformStamped
from rclpy.serialization import deserialize_message, serialize_message
from tf2_msgs.msg import TF2Error, TFMessage
from tf2_msgs.srv import FrameGraph
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

# Of ros-perception/vision_msgs 4.1.1 and ros2/geometry2 0.36.4, generated from their own definitions.
TYPE_HASHES = {
    'vision_msgs/BoundingBox2D': '008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f',
    'vision_msgs/BoundingBox2DArray': '2464e82838009386d371b523211c21c91d74d313fcdd6788223c531d621cf691',
    'vision_msgs/BoundingBox3D': 'bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698',
    'vision_msgs/BoundingBox3DArray': 'a81938db9576b10c2eecd7c5a5da3eac496efd00221b25ed051dfbc81fb56da6',
    'vision_msgs/Classification': 'f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143',
    'vision_msgs/Detection2D': '0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea',
    'vision_msgs/Detection2DArray': '214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968',
    'vision_msgs/Detection3D': 'ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b',
    'vision_msgs/Detection3DArray': '793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018',
    'vision_msgs/LabelInfo': '3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783',
    'vision_msgs/ObjectHypothesis': '51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90',
    'vision_msgs/ObjectHypothesisWithPose': '41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc',
    'vision_msgs/Point2D': 'eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247',
    'vision_msgs/Pose2D': 'b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648',
    'vision_msgs/VisionClass': '1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a',
    'vision_msgs/VisionInfo': '95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284',
    'tf2_msgs/TF2Error': 'db2485e7d6a0ec75bf087e058ee45df682acc3a621ca7780503d10aac141809a',
    'tf2_msgs/TFMessage': 'e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087',
}


def detections():
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = 'car'
    hypothesis.hypothesis.score = 0.75
    hypothesis.pose.pose.position.x = 12.5
    hypothesis.pose.covariance[7] = 0.25
    detection = Detection3D(results=[hypothesis], id='7')
    detection.header.frame_id = 'radar'
    detection.bbox.center.position.y = -3.0
    detection.bbox.size.z = 1.5
    message = Detection3DArray(detections=[detection, Detection3D()])
    message.header.stamp.sec = 5
    return message


def test_types_are_on_the_wire_what_the_originals_are(graph):
    found = {}
    for name in TYPE_HASHES:
        package, message = name.split('/')
        topic = f'/{package}/{message.lower()}'
        graph.node.create_publisher(getattr(import_module(f'{package}.msg'), message), topic, 1)
        assert graph.spin_until(lambda topic=topic: graph.node.get_publishers_info_by_topic(topic))
        info = graph.node.get_publishers_info_by_topic(topic)[0]
        assert info.topic_type == f'{package}/msg/{message}'
        assert info.topic_type_hash.version == 1
        found[name] = bytes(info.topic_type_hash.value).hex()
    assert found == TYPE_HASHES


def test_detections_survive_serialization():
    message = detections()
    back = deserialize_message(serialize_message(message), Detection3DArray)
    assert back == message
    assert back.detections[0].results[0].pose.covariance[7] == 0.25


def test_detections_arrive_over_a_topic(graph):
    received = []
    graph.node.create_subscription(Detection3DArray, 'detections', received.append, 1)
    publisher = graph.node.create_publisher(Detection3DArray, 'detections', 1)
    assert graph.spin_until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(detections())
    assert graph.spin_until(lambda: received)
    assert received == [detections()]


def test_transforms_survive_serialization():
    message = TFMessage(transforms=[TransformStamped(child_frame_id='radar')])
    assert deserialize_message(serialize_message(message), TFMessage) == message


def test_lookup_errors_have_their_numbers():
    names = ('NO', 'LOOKUP', 'CONNECTIVITY', 'EXTRAPOLATION', 'INVALID_ARGUMENT', 'TIMEOUT', 'TRANSFORM')
    assert [getattr(TF2Error, f'{name}_ERROR') for name in names] == list(range(7))


def test_frame_graph_is_served(graph):
    def answer(_, response):
        response.frame_yaml = 'radar: {}'
        return response

    graph.node.create_service(FrameGraph, 'tf2_frames', answer)
    client = graph.node.create_client(FrameGraph, 'tf2_frames')
    assert graph.spin_until(client.service_is_ready)
    future = client.call_async(FrameGraph.Request())
    assert graph.spin_until(future.done)
    assert future.result().frame_yaml == 'radar: {}'
