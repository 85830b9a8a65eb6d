# SPDX-License-Identifier: Apache-2.0
"""Features and weights of target masks."""

import numpy as np
import pytest

from radio_visual_ssl.learning.mask_features import FEATURES, mask_features, mask_weights
from radio_visual_ssl.vision.masks import TargetMask


def test_box_in_the_middle_has_its_ground_contact_below():
    mask = TargetMask(left=40, top=30, mask=np.ones((20, 20), bool), picture=(100, 80))
    column, row, width, height, fill = mask_features([mask])[0]
    assert column == pytest.approx(0.0)
    assert row == pytest.approx(50 / 80 - 0.5)
    assert (width, height, fill) == pytest.approx((np.log(0.2), np.log(0.25), 0.0))


def test_column_is_that_of_the_mask_not_of_its_box():
    shape = np.zeros((2, 10), bool)
    shape[:, 0], shape[0, 9] = True, True
    mask = TargetMask(left=0, top=10, mask=shape, picture=(100, 80))
    column, *_, fill = mask_features([mask])[0]
    assert column == pytest.approx(3.5 / 100 - 0.5)
    assert fill == pytest.approx(np.log(3 / 20))


def test_features_do_not_depend_on_the_size_of_the_picture():
    small = TargetMask(left=40, top=30, mask=np.ones((20, 10), bool), picture=(100, 80))
    large = TargetMask(left=80, top=60, mask=np.ones((40, 20), bool), picture=(200, 160))
    np.testing.assert_allclose(mask_features([small]), mask_features([large]), atol=1e-12)


def test_doubtful_masks_weigh_less():
    shape = np.ones((4, 4), bool)
    clear = TargetMask(10, 10, shape, (50, 50))
    truncated = TargetMask(0, 10, shape, (50, 50))
    hidden = TargetMask(10, 10, shape, (50, 50), score=0.8, occluded=True)
    np.testing.assert_allclose(mask_weights([clear, truncated, hidden]), [1.0, 0.25, 0.2])
    np.testing.assert_allclose(mask_weights([clear, hidden], doubtful=0.0), [1.0, 0.0])
    with pytest.raises(ValueError, match='doubtful'):
        mask_weights([clear], doubtful=2.0)


def test_no_masks_have_no_features():
    assert mask_features([]).shape == (0, len(FEATURES))
    assert mask_weights([]).shape == (0,)
