# SPDX-License-Identifier: Apache-2.0
"""The whole story on two cores: simulate and record pairs, learn from them without labels, and judge what was learned.

Usage: python tools/demo.py. Works in out/demo, which is made afresh, and writes out/demo.png. Each step is a command
that is shown, with its output and the seconds that it took.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from demo_results import COLUMNS, HIT_DISTANCE, Judged, draw_story, judge, most_labelled, rows_of

from radio_visual_ssl.commands.output import table
from radio_visual_ssl.evaluation.backends import load_localizer
from radio_visual_ssl.learning.bag_selection import expand_bags
from radio_visual_ssl.learning.contrastive_model import ContrastiveModel
from radio_visual_ssl.learning.label_set import LabelSet
from radio_visual_ssl.learning.recording_settings import RecordingSettings
from radio_visual_ssl.learning.recordings import open_recordings

VERBS = 'radio-visual-ssl'
DATA = 'parking_lot'
POSE = 'lamp_post'
"""Where the camera stands in all scenes: they share one map from picture to radar."""
SELF_SUPERVISED, SUPERVISED = 'self-supervised', 'supervised'
RATE = 2.0
"""Pairs a second: rare ones show more."""
SEED = 21
INSTANCES = 20
FRAMES = 1600
CONTRASTIVE_EPOCHS = 3
LOCALIZER_EPOCHS = 6
RECORD_S = 8
RECORDED_SEED = 1
"""Of the scene that is recorded live; the one that is played live at the end is another one, of seed 0."""
LIVE_FRAMES = 100
LAUNCH_STOP_TIME_S = 20
STEPS = 8


class DemoError(RuntimeError):
    """A step failed; the message says which."""


def main() -> int:
    """All steps; 1 where one failed."""
    root = Path(__file__).resolve().parents[1]
    out = Path('out').resolve()
    work = out / 'demo'
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    begun = time.monotonic()
    try:
        _run(root, work, out / 'demo.png')
    except (DemoError, ValueError) as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1
    print(f'\n{time.monotonic() - begun:.0f} s in all; everything is in {work}, the picture is {out / "demo.png"}')
    return 0


def _run(root: Path, work: Path, picture: Path) -> None:
    data, recorded = work / DATA, work / 'recorded'
    contrastive, labels = work / 'contrastive.safetensors', work / 'labels.safetensors'
    learned, supervised = work / 'self_supervised.safetensors', work / 'supervised.safetensors'
    cache = ['--camera-pose', POSE, '--cache', str(work / 'cache'), '--workers', '2']

    with _step(1, f'simulate {FRAMES} pairs of radar and camera, in {INSTANCES} scenes'):
        _call([VERBS, 'simulate', 'parking_lot', '--frames', FRAMES, '--instances', INSTANCES, '--rate', RATE,
               '--seed', SEED, '--workers', 2, '--out', data])  # fmt: skip
    with _step(2, f'record {RECORD_S} s of a live radar and camera'):
        parameters = yaml.safe_load((root / 'config' / 'record.yaml').read_text())
        parameters['/**/simulator_node']['ros__parameters']['seed'] = RECORDED_SEED
        (work / 'record.yaml').write_text(yaml.safe_dump(parameters))
        _call(['ros2', 'launch', 'radio_visual_ssl', 'record.launch.py', 'simulate:=true', f'duration:={RECORD_S}',
               f'params_file:={work / "record.yaml"}', f'output:={recorded}'], work / 'record.log')  # fmt: skip
    bags = [data, recorded]
    epochs = ['--set', f'run.epochs={LOCALIZER_EPOCHS}']
    with _step(3, 'train on the pairs alone; beside it, to compare, a radar localizer on the ground truth'):
        steps = ['--set', f'run.epochs={CONTRASTIVE_EPOCHS}']
        places_alone = ['--set', 'classes=[]']  # self-labels have no classes: both networks learn the same
        baseline: list[str | Path | int] = [
            VERBS,
            'train',
            *bags,
            '--truth',
            *places_alone,
            *epochs,
            *cache,
            '--out',
            supervised,
        ]
        with _beside(baseline, work / 'supervised.log'):
            _call([VERBS, 'train', *bags, *steps, *cache, '--out', contrastive])
    with _step(4, 'let the pairs label themselves'):
        parts = ['--split', 'train', '--split', 'val']
        _call([VERBS, 'label', *bags, *parts, '--model', contrastive, *cache, '--out', labels])
    with _step(5, 'train the same radar localizer on those labels'):
        _call([VERBS, 'train', *bags, '--labels', labels, *epochs, *cache, '--out', learned])
    with _step(6, 'judge them and CFAR on test scenes, which nothing was learned from'):
        judged = _judge(expand_bags([data], 'test'), learned, supervised)
    with _step(7, 'draw'):
        taught = [*expand_bags([data], 'train'), *expand_bags([data], 'val'), recorded]
        print(_draw(taught, work / 'cache', labels, contrastive, judged, picture))
    with _step(8, 'run it live'):
        _live(root, learned, work)


def _judge(bags: list[Path], learned: Path, supervised: Path) -> Judged:
    """Prints the table."""
    networks = {SELF_SUPERVISED: learned, SUPERVISED: supervised}
    judged = judge(
        bags,
        {
            'CFAR': load_localizer('cfar', 'mast'),
            **{name: load_localizer('network', 'mast', model=str(model)) for name, model in networks.items()},
        },
    )
    targets = next(iter(judged.metrics.values())).targets
    title = f'{len(bags)} test scenes, {targets} targets; found is what lies in one or within {HIT_DISTANCE:g} m of it'
    table(title, ['', *COLUMNS], rows_of(judged.metrics))
    return judged


def _draw(bags: list[Path], cache: Path, labels: Path, contrastive: Path, judged: Judged, picture: Path) -> Path:
    recordings = open_recordings(bags, RecordingSettings(camera_pose=POSE), cache)
    taught = most_labelled(recordings, LabelSet.load(labels))
    return draw_story(taught, ContrastiveModel.load(contrastive), judged, SELF_SUPERVISED, picture)


def _live(root: Path, model: Path, work: Path) -> None:
    """The launch file with a simulated radar and the model, and a node that watches and judges."""
    log = work / 'localize.log'
    parameters = yaml.safe_load((root / 'config' / 'localize.yaml').read_text())
    # the background is to be as long as it was in training
    interval = round(parameters['/**/simulator_node']['ros__parameters']['rate'] / RATE)
    mast = yaml.safe_load((root / 'config' / 'network' / 'mast.yaml').read_text())
    parameters['/**/localizer_node']['ros__parameters']['network'] = {**mast, 'background_interval': interval}
    (work / 'localize.yaml').write_text(yaml.safe_dump(parameters))
    command = ['ros2', 'launch', 'radio_visual_ssl', 'localize.launch.py', 'source:=simulator', f'model:={model}']
    command += ['backend_settings:=default', f'params_file:={work / "localize.yaml"}']
    _show(command, log)
    watch = ['ros2', 'run', 'radio_visual_ssl', 'watch_node', '--ros-args', '-p', f'frames:={LIVE_FRAMES}']
    watch += ['-p', f'out:={work / "live.png"}', '-p', 'max_range:=50.0', '-p', f'hit_distance:={HIT_DISTANCE}']
    with log.open('w') as output:
        launch = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            status = subprocess.run(watch, check=False).returncode
        finally:
            launch.send_signal(signal.SIGINT)
            try:
                launch.wait(LAUNCH_STOP_TIME_S)
            except subprocess.TimeoutExpired:
                launch.kill()
                launch.wait()
                raise DemoError(f'the launch file did not end within {LAUNCH_STOP_TIME_S} s') from None
    if status != 0:
        raise DemoError(f'watch_node: exit status {status}; the launch file said:\n{log.read_text()}')
    print(f'picture: {work / "live.png"}')


@contextmanager
def _step(number: int, title: str) -> Iterator[None]:
    """Says what is done, and then the seconds that it took, of the clock and of all processors."""
    print(f'\n[{number}/{STEPS}] {title}', flush=True)
    begun, used = time.monotonic(), _processor_s()
    yield
    print(
        f'[{number}/{STEPS}] {time.monotonic() - begun:.0f} s ({_processor_s() - used:.0f} s of processors)', flush=True
    )


def _processor_s() -> float:
    """Of this process and of those that it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def _beside(command: Sequence[str | Path | int], log: Path) -> Iterator[None]:
    """Runs a command while others run, and ends when it has ended too.

    Raises:
        DemoError: it failed.
    """
    process = _start(command, log)
    try:
        yield
        _wait(process, command, log)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def _call(command: Sequence[str | Path | int], log: Path | None = None) -> None:
    """Runs a command; what it prints goes to the log, if there is one.

    Raises:
        DemoError: it failed.
    """
    _wait(_start(command, log), command, log)


def _start(command: Sequence[str | Path | int], log: Path | None = None) -> 'subprocess.Popen[bytes]':
    _show(command, log)
    words = [str(word) for word in command]
    # threads that share the cores with anything else wait for each other most of the time
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'}
    if log is None:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, env=environment)
    with log.open('wb') as file:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environment)


def _wait(process: 'subprocess.Popen[bytes]', command: Sequence[str | Path | int], log: Path | None) -> None:
    status = process.wait()
    if status != 0:
        said = f'; it said:\n{log.read_text()}' if log is not None else ''
        raise DemoError(f'{" ".join(str(word) for word in command[:3])}: exit status {status}{said}')


def _show(command: Sequence[str | Path | int], log: Path | None) -> None:
    """Prints a command, with short paths."""
    here = f'{Path.cwd()}/'
    words = [str(word).replace(here, '') for word in command]
    into = f'   (its output: {str(log).replace(here, "")})' if log is not None else ''
    print(f'$ {" ".join(words)}{into}', flush=True)


if __name__ == '__main__':
    sys.exit(main())
