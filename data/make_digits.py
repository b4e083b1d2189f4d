"""Extract the UCI handwritten digits from scikit-learn into digits.npz. Run: python data/make_digits.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TEST_IMAGES = 500


def main() -> None:
    """Write digits.npz beside this script: 8-bit images of 0 to 16, the last 500 of scikit-learn's order for testing."""
    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    assert np.array_equal(images, digits.images), "the images are whole numbers"
    train, test = slice(None, -TEST_IMAGES), slice(-TEST_IMAGES, None)
    np.savez_compressed(
        Path(__file__).with_name("digits.npz"),
        train_images=images[train], train_labels=labels[train], test_images=images[test], test_labels=labels[test],
    )  # fmt: skip


if __name__ == "__main__":
    main()
