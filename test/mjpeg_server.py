# SPDX-License-Identifier: Apache-2.0
"""A network camera for tests: a real MJPEG stream over HTTP that can be stopped, stalled and started again."""

import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

WIDTH, HEIGHT = 160, 120


class MjpegServer:
    """Grey pictures whose brightness counts up, at http://127.0.0.1:<port>/stream; /page is no stream, the rest 404."""

    def __init__(self, rate=30.0):
        self.rate = rate
        self.stalled = False
        self.sent_at = {}
        self._count = 0
        self._server = None
        self._stopping = threading.Event()
        self.port = 0
        self.start()

    @property
    def url(self):
        return f'http://127.0.0.1:{self.port}/stream'

    def start(self):
        """Serve, on the same port as before."""
        camera = self
        self._stopping = stopping = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

            def do_GET(self):
                if self.path == '/stream':
                    self.send_response(200)
                    self.send_header('Content-Type', 'multipart/x-mixed-replace; boundary=frame')
                    self.end_headers()
                    with suppress(OSError):
                        camera._send_pictures(self.wfile, stopping)
                elif self.path == '/page':
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(b'<html>no stream</html>')
                else:
                    self.send_error(404)

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(('127.0.0.1', self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True).start()

    def stop(self):
        """Unplug it: connections end, new ones are refused."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def _send_pictures(self, file, stopping):
        while not stopping.wait(1 / self.rate):
            if self.stalled:
                continue
            value = self._count % 250
            self._count += 1
            picture = np.full((HEIGHT, WIDTH, 3), value, np.uint8)
            data = cv2.imencode('.jpg', picture)[1].tobytes()
            self.sent_at[value] = time.time_ns()
            file.write(
                b'--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n' % len(data) + data + b'\r\n'
            )
