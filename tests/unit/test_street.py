from __future__ import annotations

import numpy as np
import pytest

from producer.street import CLASSES, Street


def test_a_frame_is_a_pure_function_of_seed_size_and_time() -> None:
    first, again = Street(5, 320, 180), Street(5, 320, 180)
    np.testing.assert_array_equal(first.frame(1.5), again.frame(1.5))
    assert (first.frame(1.5) != first.frame(2.5)).any()
    assert (first.frame(1.5) != Street(6, 320, 180).frame(1.5)).any()


def test_labels_are_boxes_within_the_picture() -> None:
    seen = set()
    for seed in range(12):
        image, labels = Street(seed, 320, 180).labelled_frame(seed * 0.7)
        assert image.shape == (180, 320, 3)
        for label in labels:
            x1, y1, x2, y2 = label.xyxy
            assert 0 <= x1 < x2 <= 320
            assert 0 <= y1 < y2 <= 180
            seen.add(CLASSES[label.class_id])
    assert seen == set(CLASSES)


def test_drawing_labels_changes_nothing_in_the_picture() -> None:
    street = Street(5, 320, 180)
    np.testing.assert_array_equal(street.frame(3.0), street.labelled_frame(3.0)[0])


def test_a_street_needs_room() -> None:
    with pytest.raises(ValueError, match="64x64"):
        Street(0, 10, 10)
