# SPDX-License-Identifier: Apache-2.0
"""Files, folders and a real network stream give their pictures in their own time, and say what is wrong."""

import os
import socket
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
from mjpeg_server import MjpegServer

from radio_visual_ssl.vision import v4l2
from radio_visual_ssl.vision.capture import (
    Capture,
    CaptureError,
    CaptureSettings,
    Device,
    ImageFiles,
    Picture,
    RateLimit,
    Stream,
    VideoFile,
    explain_url,
    find_source,
    picture_age,
)


class Taken:
    """Takes what a capture gives, in the thread that captures, until it is told to lag."""

    def __init__(self, source, lag=False, **settings):
        self.pictures, self.events = [], []
        self._changed = threading.Condition()
        self.lag = lag
        self.capture = Capture(source, CaptureSettings(**settings), time.time_ns, self._notified)

    def __enter__(self):
        self.capture.start()
        return self

    def __exit__(self, *error):
        assert self.capture.stop(10)

    def _notified(self):
        if not self.lag:
            self.take()

    def take(self):
        while (item := self.capture.take()) is not None:
            with self._changed:
                (self.pictures if isinstance(item, Picture) else self.events).append(item)
                self._changed.notify_all()

    def wait(self, condition, timeout=20):
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), timeout), (self.events, len(self.pictures))

    def wait_for(self, kind, count=1):
        self.wait(lambda taken: sum(event.kind == kind for event in taken.events) >= count)
        return [event.text for event in self.events if event.kind == kind]

    @property
    def values(self):
        return [round(float(picture.image.mean())) for picture in self.pictures]


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    """20 pictures at 50 Hz, brightness 0, 10, 20 ..."""
    path = tmp_path_factory.mktemp('video') / 'count.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 50, (64, 48))
    for index in range(20):
        writer.write(np.full((48, 64, 3), 10 * index, np.uint8))
    writer.release()
    return path


@pytest.fixture
def folder(tmp_path):
    """Pictures 1, 2, 10 and 20 (brightness the same), and a text file."""
    for index in (1, 2, 10, 20):
        cv2.imwrite(str(tmp_path / f'shot{index}.png'), np.full((48, 64, 3), index, np.uint8))
    (tmp_path / 'notes.txt').write_text('no picture')
    return tmp_path


@pytest.fixture
def server():
    made = MjpegServer()
    yield made
    made.stop()


# ---- which source is meant


def test_a_source_is_known_by_its_name(video, folder):
    assert find_source('3').name == '/dev/video3'
    assert isinstance(find_source('/dev/v4l/by-id/usb-camera'), Device)
    assert isinstance(find_source('rtsp://camera/1'), Stream)
    assert isinstance(find_source(str(video)), VideoFile)
    assert isinstance(find_source(f'file://{video}'), VideoFile)
    assert [path.name for path in find_source(str(folder)).paths] == [
        'shot1.png',
        'shot2.png',
        'shot10.png',
        'shot20.png',
    ]
    assert [path.name for path in find_source(f'{folder}/shot?0.png').paths] == ['shot10.png', 'shot20.png']
    assert isinstance(find_source(f'{folder}/shot2.png'), ImageFiles)


@pytest.mark.parametrize(
    ('text', 'error', 'named'),
    [
        ('', ValueError, r'source: expected a camera index \(0\), a device, a file'),
        ('gopher://camera', ValueError, "source: expected one of file://, rtsp://.* got 'gopher://camera'"),
        ('/none/video.mp4', FileNotFoundError, '/none/video.mp4: expected a video file, a picture or a folder'),
        ('/none/*.png', FileNotFoundError, r'/none/\*.png: expected pictures \(.jpg, .*found none'),
    ],
)
def test_what_is_no_source_is_refused(text, error, named):
    with pytest.raises(error, match=named):
        find_source(text)


def test_a_file_that_is_no_video_is_refused(folder):
    with pytest.raises(ValueError, match=r'notes.txt: expected a video file or a picture, got nothing that OpenCV'):
        find_source(f'{folder}/notes.txt')


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='expected pictures'):
        find_source(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything')
def test_a_file_without_permission_is_refused(video, tmp_path):
    secret = tmp_path / 'secret.avi'
    secret.write_bytes(video.read_bytes())
    secret.chmod(0)
    with pytest.raises(PermissionError, match=r'secret.avi: no permission to read it'):
        find_source(str(secret))


def test_passwords_are_not_shown():
    assert find_source('rtsp://user:p4ss@camera/1').name == 'rtsp://user:***@camera/1'
    name = find_source('http://camera/video?user=me&pwd=p4ss&size=vga').name
    assert name == 'http://camera/video?user=me&pwd=***&size=vga'


# ---- recorded sources


def test_a_video_plays_in_its_own_rhythm(video):
    with Taken(find_source(str(video))) as taken:
        assert taken.wait_for('ended') == [f'{video}: the end, after 20 pictures']
    np.testing.assert_allclose(taken.values, 10 * np.arange(20), atol=2)
    stamps = [picture.stamp_ns for picture in taken.pictures]
    assert set(np.diff(stamps)) == {20_000_000} or taken.capture.late
    assert abs(stamps[-1] - time.time_ns()) < 60e9
    assert {picture.stamp_source for picture in taken.pictures} == {'file'}


def test_a_rate_thins_a_video_out(video):
    with Taken(find_source(str(video)), rate=10.0) as taken:
        taken.wait_for('ended')
    np.testing.assert_allclose(taken.values, [0, 50, 100, 150], atol=2)


def test_a_looping_video_goes_on_without_a_gap_or_a_step_back(video):
    with Taken(find_source(str(video)), loop=True) as taken:
        taken.wait(lambda taken: len(taken.pictures) > 45)
    np.testing.assert_allclose(taken.values[:45], [10 * (index % 20) for index in range(45)], atol=2)
    assert np.all(np.diff([picture.stamp_ns for picture in taken.pictures]) > 0)


def test_a_rate_holds_where_a_video_begins_again(video):
    source = find_source(str(video))
    source.open(CaptureSettings())
    intervals = [interval for _ in range(3) for interval, _ in source.pictures(lambda: 7.0)]
    assert 7 <= len(intervals) <= 9
    assert min(intervals[1:]) > 0.09


def test_pictures_of_a_folder_come_in_natural_order_at_the_asked_rate(folder):
    with Taken(find_source(str(folder)), rate=50.0) as taken:
        taken.wait_for('ended')
    assert taken.values == [1, 2, 10, 20]
    assert set(np.diff([picture.stamp_ns for picture in taken.pictures])) == {20_000_000} or taken.capture.late


def test_a_damaged_picture_is_left_out_and_named(folder):
    (folder / 'shot2.png').write_bytes(b'no picture')
    with Taken(find_source(str(folder)), rate=100.0) as taken:
        taken.wait_for('ended')
    assert taken.values == [1, 10, 20]
    assert taken.wait_for('damaged') == [f'{folder}/shot2.png: expected a picture, cannot read it']


def test_a_folder_of_damaged_pictures_ends_with_an_error(folder):
    for path in folder.glob('*.png'):
        path.write_bytes(b'no picture')
    with Taken(find_source(str(folder)), rate=100.0, loop=True) as taken:
        assert taken.wait_for('failed') == [f'{folder}: expected pictures, got none that can be read']


def test_a_file_waits_for_a_slow_taker(video):
    with Taken(find_source(str(video)), lag=True) as taken:
        time.sleep(0.8)
        taken.lag = False
        taken.take()
        taken.wait_for('ended')
    assert len(taken.pictures) == 20
    assert taken.capture.dropped == 0
    assert taken.capture.late


# ---- network streams


def test_a_stream_is_stamped_with_its_reception_less_the_latency(server):
    with Taken(find_source(server.url), latency=0.5) as taken:
        taken.wait(lambda taken: len(taken.pictures) >= 20)
    sent = [server.sent_at[value] for value in taken.values]
    delays = np.array([picture.stamp_ns for picture in taken.pictures]) - sent
    assert np.all(delays[2:] > -500_000_000)
    assert np.median(delays) < 1_000_000_000
    assert {picture.stamp_source for picture in taken.pictures} == {'reception'}


def test_a_stream_comes_back_after_its_server_was_away(server):
    with Taken(find_source(server.url)) as taken:
        taken.wait(lambda taken: len(taken.pictures) >= 5)
        assert taken.wait_for('opened') == [f'{server.url}: 160 x 120']
        server.stop()
        lost = taken.wait_for('failed', 2)
        assert 'the stream has ended' in lost[0]
        assert f'cannot connect to 127.0.0.1:{server.port} (Connection refused); trying again in' in lost[1]
        server.start()
        taken.wait_for('opened', 2)
        seen = len(taken.pictures)
        taken.wait(lambda taken: len(taken.pictures) >= seen + 5)
    assert taken.capture.reconnects == 1


def test_a_stream_that_falls_silent_is_opened_again(server):
    with Taken(find_source(server.url)) as taken:
        taken.wait(lambda taken: len(taken.pictures) >= 5)
        server.stalled = True
        assert 'was silent for' in taken.wait_for('failed')[0]
        server.stalled = False
        taken.wait_for('opened', 2)


def test_a_rate_thins_a_stream_out(server):
    with Taken(find_source(server.url), rate=10.0) as taken:
        taken.wait(lambda taken: len(taken.pictures) >= 10)
    # one of three, whatever the machine does in between
    assert np.median(np.diff(taken.values)) >= 2


def test_what_is_not_taken_in_time_is_dropped_and_counted(server):
    with Taken(find_source(server.url), lag=True) as taken:
        deadline = time.monotonic() + 20
        while taken.capture.dropped < 5:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        taken.lag = False
        taken.take()
        assert len(taken.pictures) <= 3


def test_why_a_stream_cannot_be_opened_is_said(server):
    base = f'http://127.0.0.1:{server.port}'
    with socket.create_server(('127.0.0.1', 0)) as listening:
        free = listening.getsockname()[1]
    assert explain_url(f'{base}/none') == 'the server answers 404 Not Found'
    assert explain_url(f'{base}/page').startswith('the server answers, but no stream that OpenCV can read')
    assert explain_url(f'rtsp://127.0.0.1:{free}/1') == f'cannot connect to 127.0.0.1:{free} (Connection refused)'
    assert explain_url('rtsp:///1') == 'expected a host in the URL'
    assert explain_url('http://camera:port/') == 'expected a number after the colon of the host'
    with pytest.raises(CaptureError, match='404 Not Found'):
        find_source(f'{base}/none').open(CaptureSettings())


# ---- devices, as far as there are some


def test_an_absent_device_is_named_with_those_present():
    with pytest.raises(CaptureError, match=r'/dev/video987: expected a video device, found none; (present|no video)'):
        find_source('987').open(CaptureSettings())


def test_a_device_that_is_no_camera_is_named():
    with pytest.raises(CaptureError, match=r'/dev/null: expected a video device, got another kind'):
        find_source('/dev/null').open(CaptureSettings())


def test_who_holds_a_device_is_found(tmp_path):
    device = tmp_path / 'device'
    device.touch()
    program = f'import time; held = open({str(device)!r}); print("open", flush=True); time.sleep(60)'
    with subprocess.Popen([sys.executable, '-S', '-c', program], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        found = v4l2.holders(str(device))
        other.kill()
    assert len(found) == 1
    assert f'(pid {other.pid})' in found[0]


@pytest.mark.parametrize('name', ['exposure', 'gain'])
def test_what_has_no_controls_refuses_them(video, name):
    for source in (str(video), 'rtsp://camera/1'):
        with pytest.raises(ValueError, match=f'{name}: expected a video device whose {name} can be set, got'):
            find_source(source).check_controls(CaptureSettings(**{name: 1}))


def test_half_a_size_and_a_wrong_format_are_refused():
    with pytest.raises(ValueError, match='width and height: expected both or none, got 640 x 0'):
        CaptureSettings(width=640)
    with pytest.raises(ValueError, match="pixel_format: expected four letters such as 'MJPG', got 'MJPEG'"):
        CaptureSettings(pixel_format='MJPEG')


# ---- time


@pytest.mark.parametrize(
    ('rate', 'expected'), [(10, 50), (15, 75), (20, 100), (29.9, 150), (30, 150), (60, 150), (0, 150)]
)
def test_a_rate_limit_is_kept_over_time_with_jitter(rate, expected):
    jitter = np.random.default_rng(3).uniform(-0.004, 0.004, 150)
    limit = RateLimit()
    taken = [time_s for time_s in np.arange(150) / 30 + jitter if limit.admits(time_s, rate)]
    assert abs(len(taken) - expected) <= 1


def test_a_rate_limit_survives_a_gap_and_a_step_back():
    limit = RateLimit()
    times = [0.0, 0.1, 5.0, 5.01, 5.1, 1.0, 1.01, 1.1]
    assert [limit.admits(time_s, 10) for time_s in times] == [True, True, True, False, True, True, False, True]


def test_driver_stamps_of_either_clock_are_taken_and_others_are_not():
    monotonic = time.monotonic()
    assert 0.02 < picture_age(monotonic - 0.03, 0.0) < 0.9
    assert 0.02 < picture_age(time.time() - 0.03, 0.0) < 0.9
    assert picture_age(0.0, 0.0) is None
    assert picture_age(monotonic - 30, 0.0) is None
    assert picture_age(monotonic + 1, 0.0) is None
    assert picture_age(monotonic - 0.03, monotonic - 0.03) is None, 'a stamp that stands still'
