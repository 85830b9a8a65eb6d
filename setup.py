# SPDX-License-Identifier: Apache-2.0
"""Installs the ROS-free core and the command line with pip, e.g. on a training server; ROS hosts use colcon."""

from pathlib import Path

from setuptools import find_packages, setup

SHARE = Path('share/radio_visual_ssl')


def shipped_files() -> list[tuple[str, list[str]]]:
    """The files of config/, models/ and msg/ by the folder that they are installed in."""
    folders: dict[str, list[str]] = {}
    for root in ('config', 'models', 'msg'):
        for path in sorted(Path(root).rglob('*')):
            if path.is_file():
                folders.setdefault(str(SHARE / path.parent), []).append(str(path))
    return list(folders.items())


setup(
    name='radio_visual_ssl',
    version='0.2.0',
    description='A radar-only target localizer that learns from paired radar and camera recordings',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['radio_visual_ssl', 'radio_visual_ssl.*']),
    data_files=shipped_files(),
    install_requires=[
        'lz4',
        'matplotlib',
        'mcap',
        'numpy',
        'opencv-python-headless',
        'pyyaml',
        'rich',
        'rosbags>=0.10',
        'scipy',
        'typer',
        'zstandard',
    ],
    extras_require={
        'backbones': ['timm'],
        'export': ['onnx', 'onnxruntime', 'safetensors', 'torch'],
        'fast': ['pyfftw'],
        'gpu': ['torch'],
        'raytrace': ['mitsuba-oidn', 'sionna-rt>=2.2'],
        'test': ['mcap-ros2-support', 'pytest', 'pytest-timeout'],
        'train': ['lightning', 'safetensors', 'torch'],
    },
    entry_points={'console_scripts': ['radio-visual-ssl = radio_visual_ssl.cli:main']},
)
