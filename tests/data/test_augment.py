"""Augmentations: what they do to pixels, their randomness, mixing, errors."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import data
from wengert.data.augment import interpolate
from wengert.errors import ArgumentError, ShapeError

KEY = wg.random.key(5)
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(200, 2, 6, 8)).astype(np.float32)


@pytest.mark.parametrize(
    "augment",
    [
        data.RandomFlip(),
        data.RandomFlip(0.3, vertical=True),
        data.RandomCrop((4, 5), padding=1),
        data.RandomAffine(30, 2, 1.3),
        data.RandomRotation(45),
        data.RandomTranslation(2),
        data.GaussianNoise(0.5),
        data.Cutout(3, p=0.5),
        data.Normalize(0.5, 2.0),
        data.Compose([data.RandomCrop(5), data.GaussianNoise(0.1), data.Cutout(2)]),
    ],
)
def test_what_all_augmentations_keep(augment):
    before = IMAGES.copy()
    out = augment(IMAGES, KEY)
    np.testing.assert_array_equal(IMAGES, before)
    assert out.dtype == np.float32
    assert out.shape[:2] == IMAGES.shape[:2]
    np.testing.assert_array_equal(out, augment(IMAGES, KEY))
    # Each sample by itself, known by its number, comes out the same.
    some = [17, 3, 199]
    np.testing.assert_array_equal(augment(IMAGES[some], KEY, some), out[some])
    gray = augment(IMAGES[:, 0], KEY)
    np.testing.assert_array_equal(gray.ndim, 3)


def test_flip():
    out = data.RandomFlip(0.5)(IMAGES, KEY)
    flipped = [np.array_equal(o, i[..., ::-1]) for o, i in zip(out, IMAGES, strict=True)]
    kept = [np.array_equal(o, i) for o, i in zip(out, IMAGES, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 65 < sum(flipped) < 135
    np.testing.assert_array_equal(data.RandomFlip(1.0, True)(IMAGES), IMAGES[..., ::-1, :])
    np.testing.assert_array_equal(data.RandomFlip(0.0)(IMAGES), IMAGES)


def test_crop_takes_windows_of_the_padded_image():
    out = data.RandomCrop((6, 8), padding=1, fill=9.0)(IMAGES, KEY)
    padded = np.pad(IMAGES, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=9.0)
    places = set()
    for image, whole in zip(out, padded, strict=True):
        found = [
            (r, c)
            for r in range(3)
            for c in range(3)
            if np.array_equal(image, whole[:, r : r + 6, c : c + 8])
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) == 9


def test_rotation_by_a_right_angle_is_exact():
    square = RNG.normal(size=(1, 3, 5, 5))
    turn = data.RandomAffine(degrees=90)
    out = turn.apply(square, np.array([[1.0, 0.5, 0.5, 0.5]]))  # 1.0: the largest angle
    np.testing.assert_allclose(out, np.rot90(square, 1, axes=(-2, -1)), atol=1e-12)


def test_translation_moves_pixels_and_fills():
    shift = data.RandomTranslation(2.0, fill=-1.0)
    out = shift.apply(IMAGES[:1].astype(np.float64), np.array([[0.5, 1.0, 0.0, 0.5]]))
    expected = np.full((1, 2, 6, 8), -1.0)
    expected[..., 2:, :-2] = IMAGES[:1, :, :-2, 2:]
    np.testing.assert_allclose(out, expected, atol=1e-12)


def test_no_motion_is_the_identity_and_scaling_keeps_the_centre():
    still = data.RandomAffine(20, 3, 1.5).apply(IMAGES[:2], np.full((2, 4), 0.5))
    np.testing.assert_allclose(still, IMAGES[:2], atol=1e-6)
    zoomed = data.RandomAffine(scale=2.0).apply(IMAGES[:, :, :5, :5], np.full((200, 4), 1.0))
    np.testing.assert_allclose(zoomed[..., 2, 2], IMAGES[..., 2, 2], atol=1e-6)


def test_interpolation_against_the_definition():
    image = RNG.normal(size=(1, 4, 5))
    rows, columns = RNG.uniform(-1.5, 5.5, (1, 3, 3)), RNG.uniform(-1.5, 6.5, (1, 3, 3))
    out = interpolate(image, rows, columns, fill=0.25)

    def pixel(r, c):
        return image[0, r, c] if 0 <= r < 4 and 0 <= c < 5 else 0.25

    for i in np.ndindex(3, 3):
        r, c = rows[0][i], columns[0][i]
        r0, c0 = int(np.floor(r)), int(np.floor(c))
        a, b = r - r0, c - c0
        expected = (
            (1 - a) * (1 - b) * pixel(r0, c0)
            + (1 - a) * b * pixel(r0, c0 + 1)
            + a * (1 - b) * pixel(r0 + 1, c0)
            + a * b * pixel(r0 + 1, c0 + 1)
        )
        assert out[0][i] == pytest.approx(expected, abs=1e-12)


def test_noise_is_normal():
    noise = data.GaussianNoise(2.0)(np.zeros((400, 5, 5)), KEY) / 2.0
    n = noise.size
    assert abs(noise.mean()) < 5 / np.sqrt(n)
    assert abs((noise**2).mean() - 1) < 5 * np.sqrt(2 / n)
    assert abs((noise**4).mean() - 3) < 5 * np.sqrt(96 / n)


def test_cutout_overwrites_squares():
    out = data.Cutout(3, fill=7.0)(np.zeros((300, 9, 9)), KEY)
    area = (out == 7.0).sum((1, 2))
    assert set(area) <= {4, 6, 9}  # whole, or cut by the border
    assert (area == 9).any()
    assert data.Cutout(3, p=0.0)(IMAGES).tobytes() == IMAGES.tobytes()


def test_normalize_by_channel():
    mean, std = IMAGES.mean((0, 2, 3)), IMAGES.std((0, 2, 3))
    out = data.Normalize(mean, std)(IMAGES)
    np.testing.assert_allclose(out.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std((0, 2, 3)), 1, atol=1e-5)
    whole = data.Normalize(1, 2)(np.ones((1, 2, 2), np.uint8))
    assert whole.dtype == np.float32
    assert not whole.any()


def test_two_maps_draw_different_numbers():
    dataset = data.ArrayDataset(np.zeros((4, 3, 3)))
    twice = dataset.map(data.GaussianNoise(1.0)).map(data.GaussianNoise(1.0))
    once = dataset.map(data.GaussianNoise(1.0))
    (a,), (b,) = twice[0], once[0]
    assert abs(a - 2 * b).max() > 0.1


def test_mixup_mixes_images_and_labels_alike():
    x, y = np.arange(6.0)[:, None, None] * np.ones((6, 4, 4)), np.arange(6)
    mixed, weights = data.Mixup(1.0, 6)((x, y), KEY)
    # Images hold their class number, so the weights must give the images back.
    np.testing.assert_allclose(weights @ np.arange(6.0), mixed[:, 0, 0], rtol=1e-6)
    assert ((weights > 0).sum(1) <= 2).all()


def test_cutmix_labels_follow_the_area():
    x, y = np.arange(6.0)[:, None, None] * np.ones((6, 8, 8)), np.arange(6)
    for number in range(20):
        mixed, weights = data.CutMix(1.0, 6)((x, y), KEY, number)
        np.testing.assert_allclose(weights @ np.arange(6.0), mixed.mean((1, 2)), rtol=1e-5)
        assert mixed.max(initial=0) <= 5
    same, labels = data.CutMix(1.0, 6, p=0.0)((x, y), KEY)
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(labels, np.eye(6))
    again, _ = data.Mixup(1.0, 6)((x, labels), KEY)  # class weights are labels too
    assert again.shape == x.shape


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: data.RandomFlip()(np.zeros((3, 3))), ShapeError, "for one image, pass image"),
        (lambda: data.RandomFlip(1.5), ArgumentError, r"must be in \[0, 1\]; got 1.5"),
        (lambda: data.RandomCrop(0), ArgumentError, "size=0"),
        (lambda: data.RandomCrop(9)(IMAGES), ShapeError, r"window \(9, 9\) of an image \(6, 8\)"),
        (lambda: data.RandomAffine(scale=0.5), ArgumentError, "scale=0.5"),
        (lambda: data.RandomRotation(-1), ArgumentError, "RandomRotation.*degrees=-1"),
        (lambda: data.GaussianNoise(-1.0), ArgumentError, "at least 0; got std=-1.0"),
        (lambda: data.Cutout(0), ArgumentError, "at least 1; got 0"),
        (lambda: data.Normalize([0.0, 0.0], [1.0, 0.0]), ArgumentError, "a constant channel"),
        (lambda: data.Compose([lambda x: x]), ArgumentError, "only augmentations; got function"),
        (lambda: data.Mixup(0.0, 3), ArgumentError, "alpha=0.0"),
        (lambda: data.Mixup(1.0, 3)(IMAGES), ArgumentError, "must be a pair"),
        (lambda: data.Mixup(1.0, 3)((IMAGES[:2], [0, 3])), ArgumentError, "from 0 to 3"),
        (lambda: data.Mixup(1.0, 3)((IMAGES[:2], [0.0, 1.0])), ArgumentError, "must be integers"),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match.replace("; got function", ".*; got function")):
        call()
