# SPDX-License-Identifier: Apache-2.0
"""The vision encoder: queries of masked targets know what is in the mask and where it is, and nothing else."""

import pytest
import torch
from torch import nn

from radio_visual_ssl.models.vision_encoder import INSIDE_CHANNELS, VisionEncoder, make_backbone


def _mask(top, left):
    mask = torch.zeros(1, 1, 48, 64)
    mask[..., top : top + 8, left : left + 12] = 1
    return mask


def test_queries_have_unit_length_for_any_image_size():
    encoder = VisionEncoder(16)
    for size in ((48, 64), (33, 70)):
        queries = encoder(torch.rand(3, 3, *size))
        assert tuple(queries.shape) == (3, 16)
        torch.testing.assert_close(queries.norm(dim=1), torch.ones(3))


def test_what_is_outside_the_mask_does_not_change_the_query():
    encoder, image, mask = VisionEncoder(16), torch.rand(1, 3, 48, 64), _mask(10, 20)
    other = image * mask + torch.rand(1, 3, 48, 64) * (1 - mask)
    torch.testing.assert_close(encoder(image, mask), encoder(other, mask))


def test_the_query_knows_where_the_mask_is():
    torch.manual_seed(0)
    encoder, image = VisionEncoder(16), torch.full((1, 3, 48, 64), 0.8)
    left, right, near = (encoder(image, _mask(16, column)) for column in (4, 44, 5))
    assert (left - right).norm() > 3 * (left - near).norm() > 0


def test_the_whole_image_is_the_image_with_a_full_mask():
    encoder, image = VisionEncoder(16), torch.rand(2, 3, 48, 64)
    torch.testing.assert_close(encoder(image), encoder(image, torch.ones(2, 1, 48, 64)))


def test_an_empty_mask_gives_a_finite_query():
    assert torch.isfinite(VisionEncoder(16)(torch.rand(1, 3, 48, 64), torch.zeros(1, 1, 48, 64))).all()


def test_any_feature_extractor_can_be_the_backbone():
    class Coarse(nn.Module):
        out_channels = 5

        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(INSIDE_CHANNELS, 5, 16, 16)

        def forward(self, images):
            return self.layer(images)

    assert tuple(VisionEncoder(8, Coarse())(torch.rand(2, 3, 48, 64), torch.ones(2, 1, 48, 64)).shape) == (2, 8)


def test_the_default_is_small():
    assert sum(parameter.numel() for parameter in VisionEncoder().parameters()) < 200_000


def test_an_unknown_backbone_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="backbone: expected one of small, got 'resnet18'"):
        make_backbone('resnet18')


@pytest.mark.parametrize('field', ['embedding_dim', 'heads', 'coordinate_bands'])
def test_impossible_settings_are_refused_by_name(field):
    with pytest.raises(ValueError, match=field):
        VisionEncoder(**{field: 0})


def test_images_and_masks_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match='images'):
        VisionEncoder()(torch.rand(1, 1, 48, 64))
    with pytest.raises(ValueError, match='masks'):
        VisionEncoder()(torch.rand(1, 3, 48, 64), torch.ones(1, 1, 24, 32))
