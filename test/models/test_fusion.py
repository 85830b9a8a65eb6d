# SPDX-License-Identifier: Apache-2.0
"""The network that sees the camera beside the radar: what of the picture reaches which cell, and mirrors."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from radio_visual_ssl.models.fusion import FusionNetwork
from radio_visual_ssl.models.localizer import LocalizerNetwork
from radio_visual_ssl.models.picture_input import PictureInput, PictureInputSettings
from radio_visual_ssl.radar.grid import PolarGrid

GRID = PolarGrid(np.arange(1.0, 25.0), np.arcsin((np.arange(16) - 7.5) / 9))
SIZE = (24, 32)


def network(seed=0, **changes):
    torch.manual_seed(seed)
    options = {'width': 8, 'kernel': 3, 'stride': (2, 1), 'dilations': (1,), 'picture_size': SIZE, 'picture_width': 8}
    return FusionNetwork(GRID, 3, **{**options, **changes}).eval()


def frames(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, *GRID.shape, generator=generator), torch.randn(count, 4, *SIZE, generator=generator)


def test_without_what_the_camera_adds_it_is_the_radio_network():
    fusion = network()
    radio = LocalizerNetwork(GRID, 3, 8, 3, (2, 1), (1,)).eval()
    own = radio.state_dict()
    radio.load_state_dict({name: value for name, value in fusion.state_dict().items() if name in own})
    torch.nn.init.zeros_(fusion.camera_to_radio.weight)
    torch.nn.init.zeros_(fusion.camera_to_radio.bias)
    maps, pictures = frames(2)
    for one, other in zip(fusion(maps, pictures), radio(maps), strict=True):
        torch.testing.assert_close(one, other)


def test_each_frame_is_seen_with_its_own_picture():
    fusion = network()
    maps, pictures = frames(3)
    together = fusion(maps, pictures).centre
    torch.testing.assert_close(fusion(maps[1:2], pictures[1:2]).centre[0], together[1])
    assert not torch.allclose(fusion(maps, pictures.flip(0)).centre[0], together[0])


def test_what_the_camera_tells_alone_does_not_depend_on_the_radar():
    fusion = network()
    torch.nn.init.normal_(fusion.camera_head.weight)
    maps, pictures = frames(2)
    together, alone = fusion.both(maps, pictures)
    torch.testing.assert_close(together.centre, fusion(maps, pictures).centre)
    torch.testing.assert_close(fusion.both(maps.flip(0), pictures)[1].centre, alone.centre)
    assert not torch.allclose(fusion.both(maps, pictures.flip(0))[1].centre, alone.centre)


def test_a_mirrored_heatmap_attends_to_the_picture_as_it_is():
    # where cells are symmetric, a mirrored frame with its picture gives the mirrored answer, if the radio part does
    fusion = network()
    maps, pictures = frames(2)
    seen = fusion.camera(pictures).flatten(2).transpose(1, 2)
    plain = fusion._attended(fusion.query_places, seen).unflatten(1, fusion.cells.shape)
    mirrored = fusion._attended(fusion.mirrored_places, seen).unflatten(1, fusion.cells.shape)
    np.testing.assert_allclose(fusion.cells.azimuth, -fusion.cells.azimuth[::-1], atol=1e-9)
    torch.testing.assert_close(mirrored, plain.flip(2), rtol=1e-4, atol=1e-5)
    one = fusion(maps, pictures, torch.tensor([True, False])).centre
    torch.testing.assert_close(one[1], fusion(maps, pictures).centre[1])
    torch.testing.assert_close(one[0], fusion(maps, pictures, torch.tensor([True, True])).centre[0])
    assert not torch.allclose(one[0], fusion(maps, pictures).centre[0])


def test_it_learns_where_in_the_picture_a_place_is():
    """A target is at a place of the radar alone known by a spot in the picture: azimuth by column, range by row."""
    fusion = network(dilations=())
    random = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(fusion.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=300)  # or it is chance how it ends
    rows, columns = fusion.cells.shape

    def batch(count):
        row, column = (torch.randint(size, (count,), generator=random) for size in (rows, columns))
        pictures, wanted = torch.zeros(count, 4, *SIZE), torch.zeros(count, rows, columns)
        for number in range(count):
            top, left = round(float(row[number]) / (rows - 1) * 20), round(float(column[number]) / (columns - 1) * 28)
            pictures[number, 3, 20 - top : 24 - top, 28 - left : 32 - left] = 1.0
            wanted[number, row[number], column[number]] = 1.0
        return torch.zeros(count, 3, *GRID.shape), pictures, wanted, row, column

    for _ in range(300):
        maps, pictures, wanted, _, _ = batch(32)
        loss = functional.binary_cross_entropy_with_logits(fusion(maps, pictures).centre, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    maps, pictures, _, row, column = batch(100)
    with torch.inference_mode():
        best = fusion(maps, pictures).centre.flatten(1).argmax(dim=1)
    near = (best // columns - row).abs().le(1) & (best % columns - column).abs().le(1)
    assert near.float().mean() > 0.6  # by chance: 9 of 192 cells


def test_what_does_not_fit_is_refused():
    fusion = network()
    maps, pictures = frames(1)
    with pytest.raises(ValueError, match='pictures: expected one for each heatmap, got none'):
        fusion(maps)
    with pytest.raises(ValueError, match=r'pictures: expected shape \(B, 4, 24, 32\)'):
        fusion(maps, pictures[:, :, 1:])
    with pytest.raises(ValueError, match='place_width: expected a whole number from 1 on, got 0'):
        network(place_width=0)


def test_pictures_become_changes_against_the_median_before():
    stream = PictureInput(PictureInputSettings((8, 8), background_frames=5))
    yard = np.random.default_rng(0).integers(0, 200, (16, 16, 3)).astype(np.uint8)
    small = yard.reshape(8, 2, 8, 2, 3).mean(axis=(1, 3))
    assert not stream(yard).any()
    for _ in range(3):
        assert not stream(yard).any()
    moved = yard.copy()
    moved[4:8, 6:10] = (255, 0, 255)
    change = np.zeros((8, 8, 3))
    change[2:4, 3:5] = ((255, 0, 255) - small[2:4, 3:5]) / 127.5
    maps = stream(moved)
    np.testing.assert_allclose(maps[:3], change.transpose(2, 0, 1), atol=0.01)
    np.testing.assert_allclose(maps[3], np.abs(change).max(axis=2), atol=0.01)
    assert not stream(None).any()
    stream.reset()
    assert not stream(moved).any()
    np.testing.assert_allclose(stream(yard)[:3], -maps[:3], atol=0.01)  # which is no part of its own background
    with pytest.raises(ValueError, match=r'size: expected two whole numbers from 8 px on, got \(4, 80\)'):
        PictureInputSettings((4, 80))
