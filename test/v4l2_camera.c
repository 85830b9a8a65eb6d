// SPDX-License-Identifier: Apache-2.0
// A Video4Linux camera for tests on machines without one: preloaded, it answers the system calls on one file as a
// kernel's driver would, so that OpenCV's and our own device code run as they are.
//
//   V4L2_CAMERA       path of the file (in /dev/shm); without the file the camera is unplugged
//   <path>.busy       while this file is there, another program has the camera
//   V4L2_CAMERA_AGE   ms between a picture's time stamp and its delivery; negative = stamps without meaning
//   V4L2_CAMERA_PLAIN set = no gain, no exposure
//
// It offers YUYV at 320 x 240 and 640 x 480. Brightness of a picture: 40 + gain + exposure (if manual; 0.1 ms) / 20.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BUFFERS = 4, DESCRIPTORS = 4096, LARGEST = 640 * 480 * 2 };
enum { GAIN, AUTOGAIN, MODE, EXPOSURE, CONTROLS };

static const struct { unsigned id; int minimum, maximum, initial; } controls[CONTROLS] = {
  {V4L2_CID_GAIN, 0, 100, 10},
  {V4L2_CID_AUTOGAIN, 0, 1, 1},
  {V4L2_CID_EXPOSURE_AUTO, 0, 3, V4L2_EXPOSURE_APERTURE_PRIORITY},
  {V4L2_CID_EXPOSURE_ABSOLUTE, 3, 2047, 100},
};
static int values[CONTROLS] = {10, 1, V4L2_EXPOSURE_APERTURE_PRIORITY, 100};
static char ours[DESCRIPTORS];
static unsigned width = 640, height = 480, rate = 30, queue[BUFFERS], queued, sequence;
static struct timespec due;

static const char *path(void) { return getenv("V4L2_CAMERA"); }

static int fail(int error) { errno = error; return -1; }

static int busy(void) {
  char name[4096];
  snprintf(name, sizeof name, "%s.busy", path());
  return access(name, F_OK) == 0;
}

static int opened(int descriptor, const char *name) {
  if (descriptor >= 0 && descriptor < DESCRIPTORS) {
    ours[descriptor] = path() && strcmp(name, path()) == 0;
    if (ours[descriptor] && ftruncate(descriptor, BUFFERS * LARGEST)) return -1;
  }
  return descriptor;
}

#define DEFINE_OPEN(symbol)                                                     \
  int symbol(const char *name, int flags, ...) {                                \
    static int (*next)(const char *, int, ...);                                 \
    if (!next) next = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #symbol); \
    va_list more;                                                               \
    va_start(more, flags);                                                      \
    int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, int) : 0;         \
    va_end(more);                                                               \
    return opened(next(name, flags, mode), name);                               \
  }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

int close(int descriptor) {
  static int (*next)(int);
  if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "close");
  if (descriptor >= 0 && descriptor < DESCRIPTORS) ours[descriptor] = 0;
  return next(descriptor);
}

static int control_of(unsigned id) {
  for (int index = 0; index < CONTROLS && !getenv("V4L2_CAMERA_PLAIN"); index++)
    if (controls[index].id == id) return index;
  return -1;
}

static void set_size(struct v4l2_pix_format *format) {
  int small = format->width <= 320 && format->height <= 240;
  format->width = small ? 320 : 640;
  format->height = small ? 240 : 480;
  format->pixelformat = V4L2_PIX_FMT_YUYV;
  format->field = V4L2_FIELD_NONE;
  format->bytesperline = 2 * format->width;
  format->sizeimage = format->bytesperline * format->height;
  format->colorspace = V4L2_COLORSPACE_SRGB;
}

static int dequeue(int descriptor, struct v4l2_buffer *buffer) {
  static unsigned char picture[LARGEST];
  if (!queued) return fail(EAGAIN);
  due.tv_nsec += 1000000000 / rate;
  due.tv_sec += due.tv_nsec / 1000000000;
  due.tv_nsec %= 1000000000;
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
  if (access(path(), F_OK)) return fail(ENODEV);
  int manual = values[MODE] == V4L2_EXPOSURE_MANUAL;
  memset(picture, 128, sizeof picture);
  for (unsigned at = 0; at < 2 * width * height; at += 2)
    picture[at] = 40 + values[GAIN] + (manual ? values[EXPOSURE] / 20 : 0);
  unsigned index = queue[0];
  memmove(queue, queue + 1, sizeof queue - sizeof *queue);
  queued--;
  if (pwrite(descriptor, picture, 2 * width * height, (off_t)index * LARGEST) < 0) return -1;
  memset(buffer, 0, sizeof *buffer);
  buffer->type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  buffer->memory = V4L2_MEMORY_MMAP;
  buffer->index = index;
  buffer->length = LARGEST;
  buffer->bytesused = 2 * width * height;
  buffer->m.offset = index * LARGEST;
  buffer->sequence = sequence++;
  buffer->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC | V4L2_BUF_FLAG_DONE;
  long age = getenv("V4L2_CAMERA_AGE") ? atol(getenv("V4L2_CAMERA_AGE")) : 40;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  long long microseconds = now.tv_sec * 1000000LL + now.tv_nsec / 1000 - 1000 * age;
  if (age < 0) microseconds = 7000000LL + sequence;
  buffer->timestamp.tv_sec = microseconds / 1000000;
  buffer->timestamp.tv_usec = microseconds % 1000000;
  return 0;
}

static int answer(int descriptor, unsigned long request, void *argument) {
  if (access(path(), F_OK)) return fail(ENODEV);
  switch (request) {
    case VIDIOC_QUERYCAP: {
      struct v4l2_capability *capability = argument;
      memset(capability, 0, sizeof *capability);
      strcpy((char *)capability->driver, "test");
      strcpy((char *)capability->card, "Test Camera");
      capability->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING | V4L2_CAP_DEVICE_CAPS;
      capability->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
      return 0;
    }
    case VIDIOC_G_INPUT:
      *(int *)argument = 0;
      return 0;
    case VIDIOC_S_INPUT:
      return 0;
    case VIDIOC_ENUMINPUT: {
      struct v4l2_input *input = argument;
      if (input->index) return fail(EINVAL);
      strcpy((char *)input->name, "Camera 1");
      input->type = V4L2_INPUT_TYPE_CAMERA;
      return 0;
    }
    case VIDIOC_S_FMT:
    case VIDIOC_TRY_FMT: {
      if (busy()) return fail(EBUSY);
      struct v4l2_format *format = argument;
      set_size(&format->fmt.pix);
      if (request == VIDIOC_S_FMT) width = format->fmt.pix.width, height = format->fmt.pix.height;
      return 0;
    }
    case VIDIOC_G_FMT: {
      struct v4l2_format *format = argument;
      format->fmt.pix.width = width;
      format->fmt.pix.height = height;
      set_size(&format->fmt.pix);
      return 0;
    }
    case VIDIOC_S_PARM:
    case VIDIOC_G_PARM: {
      struct v4l2_streamparm *parameters = argument;
      struct v4l2_fract *period = &parameters->parm.capture.timeperframe;
      if (request == VIDIOC_S_PARM && period->numerator) rate = period->denominator / period->numerator;
      if (rate < 1 || rate > 60) rate = 30;
      parameters->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
      period->numerator = 1;
      period->denominator = rate;
      return 0;
    }
    case VIDIOC_REQBUFS: {
      struct v4l2_requestbuffers *buffers = argument;
      if (busy()) return fail(EBUSY);
      if (buffers->count > BUFFERS) buffers->count = BUFFERS;
      queued = 0;
      return 0;
    }
    case VIDIOC_QUERYBUF: {
      struct v4l2_buffer *buffer = argument;
      buffer->length = LARGEST;
      buffer->m.offset = buffer->index * LARGEST;
      return 0;
    }
    case VIDIOC_QBUF:
      queue[queued++ % BUFFERS] = ((struct v4l2_buffer *)argument)->index;
      return 0;
    case VIDIOC_DQBUF:
      return dequeue(descriptor, argument);
    case VIDIOC_STREAMON:
      clock_gettime(CLOCK_MONOTONIC, &due);
      return 0;
    case VIDIOC_STREAMOFF:
      queued = 0;
      return 0;
    case VIDIOC_QUERYCTRL: {
      struct v4l2_queryctrl *query = argument;
      int index = control_of(query->id);
      if (index < 0) return fail(EINVAL);
      query->minimum = controls[index].minimum;
      query->maximum = controls[index].maximum;
      query->default_value = controls[index].initial;
      query->step = 1;
      query->flags = 0;
      return 0;
    }
    case VIDIOC_S_CTRL:
    case VIDIOC_G_CTRL: {
      struct v4l2_control *control = argument;
      int index = control_of(control->id);
      if (index < 0) return fail(EINVAL);
      // a webcam has two of the four exposure modes
      if (index == MODE && request == VIDIOC_S_CTRL && control->value % 2 == 0) return fail(EINVAL);
      if (request == VIDIOC_S_CTRL) values[index] = control->value;
      control->value = values[index];
      return 0;
    }
  }
  return fail(ENOTTY);
}

int ioctl(int descriptor, unsigned long request, ...) {
  static int (*next)(int, unsigned long, ...);
  if (!next) next = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
  va_list more;
  va_start(more, request);
  void *argument = va_arg(more, void *);
  va_end(more);
  request &= 0xffffffff;
  if (getenv("V4L2_CAMERA_TRACE") && descriptor >= 0 && descriptor < DESCRIPTORS && ours[descriptor])
    fprintf(stderr, "ioctl %lx nr %lu\n", request, request & 0xff);
  if (descriptor >= 0 && descriptor < DESCRIPTORS && ours[descriptor]) return answer(descriptor, request, argument);
  return next(descriptor, request, argument);
}
