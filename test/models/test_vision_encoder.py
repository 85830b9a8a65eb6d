# SPDX-License-Identifier: Apache-2.0
"""The vision encoder: queries of masked targets know what is in the mask and where it is, and nothing else."""

import importlib.util

import pytest
import torch
from safetensors.torch import save_file
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


def test_a_backbone_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match=r"backbone: expected .*, got 'no_such_network'"):
        make_backbone('no_such_network')


def test_weights_for_the_small_backbone_are_refused():
    with pytest.raises(ValueError, match="backbone_weights: expected none for 'small', got 'w.safetensors'"):
        make_backbone('small', weights='w.safetensors')


@pytest.mark.skipif(importlib.util.find_spec('timm') is not None, reason='timm is there')
def test_what_models_of_timm_need_is_told_where_it_is_missing():
    with pytest.raises(ValueError, match='expected one of small, or a model of the Python package timm, which cannot'):
        make_backbone('resnet18')


@pytest.fixture
def timm():
    return pytest.importorskip('timm')


@pytest.mark.parametrize(('name', 'channels'), [('resnet18', 128), ('mobilenetv3_small_050', 16)])
def test_models_of_timm_give_queries_of_small_pictures(timm, name, channels):
    backbone = make_backbone(name)
    assert backbone.out_channels == channels
    assert tuple(backbone(torch.rand(2, INSIDE_CHANNELS, 48, 64)).shape) == (2, channels, 6, 8)
    encoder = VisionEncoder(8, backbone)
    query = encoder(torch.rand(2, 3, 30, 40), torch.ones(2, 1, 30, 40))
    query.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters() if parameter.requires_grad)
    assert sum(parameter.numel() for parameter in backbone.parameters() if parameter.requires_grad) > 1000


def test_a_model_of_timm_begins_with_the_weights_of_a_file(timm, tmp_path):
    whole = timm.create_model('resnet18', pretrained=False)
    save_file(whole.state_dict(), tmp_path / 'w.safetensors')
    backbone = make_backbone('resnet18', weights=tmp_path / 'w.safetensors')
    torch.testing.assert_close(backbone.model.layer1[0].conv1.weight, whole.layer1[0].conv1.weight)
    assert backbone.model.conv1.weight.shape[1] == INSIDE_CHANNELS


def test_files_that_are_no_weights_of_the_model_are_refused(timm, tmp_path):
    with pytest.raises(ValueError, match='backbone_weights: expected a file, got'):
        make_backbone('resnet18', weights=tmp_path / 'none.safetensors')
    save_file({'other': torch.zeros(3)}, tmp_path / 'other.safetensors')
    with pytest.raises(ValueError, match='backbone_weights: expected weights of resnet18, got'):
        make_backbone('resnet18', weights=tmp_path / 'other.safetensors')
    torch.save({'conv1.weight': print}, tmp_path / 'code.pth')
    with pytest.raises(ValueError, match='backbone_weights: expected weights of resnet18, got'):
        make_backbone('resnet18', weights=tmp_path / 'code.pth')
    for name in ('vit_tiny_patch16_224', 'swin_tiny_patch4_window7_224', 'mambaout_femto'):
        with pytest.raises(ValueError, match=f"backbone: expected a model .*, got '{name}'"):
            make_backbone(name)
    with pytest.raises(ValueError, match=r"backbone: expected a model of timm \(.*resnet.*\), got 'resnet1'"):
        make_backbone('resnet1')


@pytest.mark.parametrize('field', ['embedding_dim', 'heads', 'coordinate_bands'])
def test_impossible_settings_are_refused_by_name(field):
    with pytest.raises(ValueError, match=field):
        VisionEncoder(**{field: 0})


def test_images_and_masks_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match='images'):
        VisionEncoder()(torch.rand(1, 1, 48, 64))
    with pytest.raises(ValueError, match='masks'):
        VisionEncoder()(torch.rand(1, 3, 48, 64), torch.ones(1, 1, 24, 32))
