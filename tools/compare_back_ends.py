# SPDX-License-Identifier: Apache-2.0
"""Holds the ray-traced back end of the simulator against the fast one; needs the extra [raytrace].

Usage: python tools/compare_back_ends.py [rcs] [reflectors] [targets] [masks] [pictures]

The last line is one JSON object.
"""

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.cube import RadarCube, canonical
from radio_visual_ssl.radar.formation import HeatmapFormer
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.profile import SPEED_OF_LIGHT, RadarProfile, load_profile
from radio_visual_ssl.simulation.kinds import KINDS
from radio_visual_ssl.simulation.layout import Body, lay_out
from radio_visual_ssl.simulation.path_tracer import Part, PathTracer
from radio_visual_ssl.simulation.radio_materials import directivity, permittivity, scattering_coefficient
from radio_visual_ssl.simulation.raytraced import RaytracedSimulator
from radio_visual_ssl.simulation.raytraced_camera import RaytracedRenderer
from radio_visual_ssl.simulation.raytraced_channel import RaytracedChannel
from radio_visual_ssl.simulation.receiver import Samples
from radio_visual_ssl.simulation.rendering import Renderer, camera_on
from radio_visual_ssl.simulation.scatter import ScattererChannel
from radio_visual_ssl.simulation.scene import Ground, Mast, Mover, Scene, load_scene
from radio_visual_ssl.simulation.simulator import Simulator, cube_axes
from radio_visual_ssl.simulation.trajectory import Pose
from radio_visual_ssl.simulation.triangles import Triangles

IMAGES = Path(__file__).resolve().parents[1] / 'docs' / 'images'
SIZE = (320, 240)
STRONG = 80.0  # dB, reference ratio at which the noise does not matter
DRAWS = 64
# dBsm, means of the linear values in 3GPP TR 38.901 V19, clause 7.9.2.1: human, vehicle and automated guided vehicle
# (0.5 x 1.0 x 0.5 m, a third of the upright surface of our cart)
PUBLISHED = {'pedestrian': -1.37, 'car': 11.25, 'van': 11.25, 'cart': -4.25, 'cyclist': None}
# seeds with several targets by day
PICTURES = {'parking_lot': 3, 'street': 1, 'indoor_hall': 2}
Json = dict[str, object]


def rcs(profile: RadarProfile) -> Json:
    """Mean cross section of each kind over 24 aspects, 20 m from a radar 4 m high."""
    frequency, radar, table = profile.waveform.centre_frequency, np.array([0.0, 0.0, 4.0]), {}
    scale = (4 * math.pi) ** 3 / (SPEED_OF_LIGHT / frequency) ** 2
    for kind, published in PUBLISHED.items():
        made = KINDS[kind]
        body = Body(kind, made.size, made.rcs, (0, 0, 0), 1, made.material)
        shape = Triangles.of(body)
        part = Part('body', shape, *permittivity(made.material, frequency), directivity=directivity(kind))
        tracer, sections = PathTracer([part], frequency), []
        for heading in np.arange(24) * math.pi / 12:
            tracer.move({'body': shape.placed(Pose(20.0, 0.0, float(heading))).points})
            paths = tracer.paths(radar, 2_000_000, 1, mirrors=False)
            distance = np.linalg.norm(paths.vertices[0] - radar, axis=1)
            sections.append(scale * np.sum(np.abs(paths.amplitude) ** 2 * distance**4))
        mean = float(np.mean(sections)) * scattering_coefficient(body, shape, frequency) ** 2
        level, described = 10 * math.log10(mean), 10 * math.log10(made.rcs)
        table[kind] = {'dbsm': round(level, 2), 'described_dbsm': round(described, 2), 'published_dbsm': published}
        print(f'{kind:12} {level:6.2f} dBsm, described {described:6.2f}, published {published}')
    return {'rcs': table}


def field(mover: Mover) -> Scene:
    """One target on silent ground."""
    mast = Mast(4.0, reference_snr_db=STRONG)
    return Scene('field', movers=(mover,), movers_present=(1, 1), mast=mast, ground=Ground(rcs_db_per_m2=-90.0))


def loop(kind: str) -> Mover:
    """Round the field in front of the radar, so that it shows all its sides."""
    path = ((10.0, -4.0), (20.0, -8.0), (32.0, -3.0), (30.0, 7.0), (18.0, 6.0), (12.0, 2.0))
    return Mover(kind, path, 4.0, jitter=0.0)


def formed(former: HeatmapFormer, cube: Samples) -> Heatmap:
    """Heatmap of what a back end delivers."""
    return former.form(canonical(RadarCube(cube, cube_axes(former.profile)), former.profile))


def reflectors(profile: RadarProfile) -> Json:
    """Peaks of a point reflector at 40 places."""
    layout, former = lay_out(field(loop('reflector')), 1), HeatmapFormer(profile)
    back_ends, within = (ScattererChannel(layout, profile), RaytracedChannel(layout, profile)), 0
    times = np.linspace(0.0, layout.movers[0][1].period, 40, endpoint=False)
    levels = []
    for time in times.tolist():
        maps = [formed(former, back_end.cube(time)).values for back_end in back_ends]
        peaks = np.array([np.unravel_index(np.argmax(values), values.shape) for values in maps])
        within += bool(np.all(np.abs(peaks[0] - peaks[1]) <= 1))
        levels.append(maps[1].max() - maps[0].max())
    share = within / len(times)
    print(
        f'point reflector: peak within one cell at {share:.1%} of {len(times)} places, level {np.mean(levels):+.2f} dB'
    )
    return {'reflector_peak_within_a_cell': share, 'reflector_level_db': round(float(np.mean(levels)), 3)}


def targets(profile: RadarProfile) -> Json:
    """Centroids and mean power of extended targets at 6 places each, averaged over 64 draws of their speckle."""
    former, within, table, steps = HeatmapFormer(profile), [], {}, []
    for kind in PUBLISHED:
        layout = lay_out(field(loop(kind)), 1)
        times = np.linspace(0.0, layout.movers[0][1].period, 6, endpoint=False).tolist()
        traced, power = RaytracedChannel(layout, profile), np.zeros((2, len(times), *former.grid.shape))
        total = np.zeros((2, len(times)))
        rng = np.random.default_rng(1)
        for index, time in enumerate(times):
            echoes, _ = traced.mover_echoes(time)
            for _ in range(DRAWS):
                turn = np.exp(2j * np.pi * rng.random(len(echoes.amplitude)))
                cube = traced.response(replace(echoes, amplitude=(echoes.amplitude * turn).astype(np.complex64)))
                power[1, index] += spread(former, cube)
                total[1, index] += np.sum(np.abs(cube) ** 2)
        for draw in range(DRAWS):
            fast = ScattererChannel(replace(layout, seed=draw), profile)
            for index, time in enumerate(times):
                cube = canonical(RadarCube(fast.cube(time), cube_axes(profile)), profile)
                power[0, index] += spread(former, cube)
                total[0, index] += np.sum(np.abs(cube) ** 2)
        for fast_map, traced_map in zip(*power, strict=True):
            step = centroid(traced_map, former.grid) - centroid(fast_map, former.grid)
            steps.append(step)
            within.append(bool(np.all(np.abs(step) <= 1)))
        ratios = total[1] / total[0]
        mean = 10 * math.log10(float(np.mean(ratios)))
        table[kind] = {'mean_db': round(mean, 2), 'by_place_db': np.round(10 * np.log10(ratios), 1).tolist()}
        print(f'{kind:12} ray-traced against fast {mean:+.2f} dB, by place {table[kind]["by_place_db"]}')
        print(np.round(steps[-len(times) :], 2).tolist())
    share = float(np.mean(within))
    print(f'centroids within one cell: {share:.1%} of {len(within)}')
    return {'centroid_within_a_cell': share, 'power': table}


def spread(former: HeatmapFormer, cube: NDArray[np.complex64]) -> NDArray[np.float64]:
    """How the power lies over range and azimuth; heatmaps are relative to a floor that noiseless cubes do not have."""
    power = 10 ** (former.form(cube).values.astype(np.float64) / 10)
    return power * (np.sum(np.abs(cube) ** 2) / power.sum())


def centroid(power: NDArray[np.float64], grid: PolarGrid) -> NDArray[np.float64]:
    """Range and azimuth bin of the middle of a target's power."""
    weight = np.where(power > 0.1 * power.max(), power, 0.0)
    row, column = np.indices(grid.shape)
    return np.array([np.sum(weight * row), np.sum(weight * column)]) / weight.sum()


def masks() -> Json:
    """How far the boxes around the masks of the targets, and their middles, lie apart in both cameras."""
    apart, middles = [], []
    for name, seed in PICTURES.items():
        scene = load_scene(name)
        layout, camera = lay_out(scene, seed), camera_on(scene, SIZE)
        fast, traced = Renderer(layout, camera), RaytracedRenderer(layout, camera, samples=1)
        for time in np.arange(8) * 1.7:
            a, b = fast.view(float(time)).mask, traced.view(float(time)).mask
            for number in np.intersect1d(a[a > 0], b[b > 0]):
                # slivers between what stands in front say nothing of the projection
                if min(np.sum(a == number), np.sum(b == number)) >= 20:
                    edges = np.subtract(extent(a == number), extent(b == number))
                    apart.append(np.abs(edges).max())
                    middles.append(np.abs(edges.reshape(2, 2).mean(axis=1)).max())
    share, worst = float(np.mean(np.array(apart) <= 2)), int(max(apart))
    middle = float(np.mean(np.array(middles) <= 2))
    print(f'boxes around masks within 2 px: {share:.1%} of {len(apart)}, worst {worst} px; middles {middle:.1%}')
    return {
        'mask_middles_within_2px': middle,
        'mask_boxes_within_2px': share,
        'mask_boxes': len(apart),
        'mask_worst_px': worst,
    }


def extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of a mask, px."""
    rows, columns = np.nonzero(mask)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def pictures(profile: RadarProfile) -> Json:
    """One row for each scene: both images, the depth, and both heatmaps."""
    import matplotlib as mpl

    mpl.use('Agg')
    import matplotlib.pyplot as plt

    former = HeatmapFormer(profile)
    figure, axes = plt.subplots(3, 5, figsize=(20, 9), layout='constrained')
    for row, (name, seed) in zip(axes, PICTURES.items(), strict=True):
        scene, time = load_scene(name), 2.0
        frames = [kind(scene, profile, seed, image_size=SIZE).frame(time) for kind in (Simulator, RaytracedSimulator)]
        row[0].set_ylabel(name)
        for axis, image, title in (
            (row[0], frames[0].image, 'scatter'),
            (row[1], frames[1].image, 'raytraced'),
            (row[2], np.minimum(frames[1].depth, 60.0), 'depth to 60 m'),
        ):
            axis.imshow(image)
            axis.set_title(title)
            axis.set_xticks([])
            axis.set_yticks([])
        for axis, frame, title in zip(row[3:], frames, ('scatter', 'raytraced'), strict=True):
            heatmap = formed(former, frame.cube)
            seen = heatmap.grid.range < 60
            axis.pcolormesh(
                np.degrees(heatmap.grid.azimuth), heatmap.grid.range[seen], heatmap.values[seen], vmin=-5, vmax=45
            )
            for target in frame.targets:
                if target.in_radar_view:
                    axis.plot(math.degrees(target.azimuth), target.range, 'o', mfc='none', mec='w', ms=12)
            axis.invert_xaxis()
            axis.set_ylim(0, 60)
            axis.set_title(f'{title}: range, m, against azimuth, deg')
    path = IMAGES / 'back_ends.png'
    figure.savefig(path, dpi=60)
    print(path)
    return {'picture': str(path)}


def main() -> None:
    """Make the comparisons that are asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('what', nargs='*', default=['rcs', 'reflectors', 'targets', 'masks', 'pictures'])
    parser.add_argument('--radar', default='ofdm_28ghz_400mhz_16rx', help='radar profile')
    arguments = parser.parse_args()
    profile, report = load_profile(arguments.radar), {}
    for what in arguments.what:
        if what == 'masks':
            report |= masks()
        else:
            report |= {'rcs': rcs, 'reflectors': reflectors, 'targets': targets, 'pictures': pictures}[what](profile)
    print(json.dumps(report))


if __name__ == '__main__':
    main()
