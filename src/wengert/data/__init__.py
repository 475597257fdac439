"""Data: datasets, loaders that are reproducible and resumable, splits, augmentations, real data.

Everything here works on NumPy arrays; a `DataLoader` hands out tensors.
"""

from wengert.data.augment import (
    Augmentation,
    Compose,
    Cutout,
    GaussianNoise,
    Normalize,
    RandomAffine,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
)
from wengert.data.collate import stack
from wengert.data.dataset import (
    ArrayDataset,
    ConcatDataset,
    DataError,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
)
from wengert.data.idx import read_idx, write_idx
from wengert.data.loader import DataLoader
from wengert.data.locate import NotFoundError
from wengert.data.mixing import BatchAugmentation, CutMix, Mixup
from wengert.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    WeightedSampler,
)
from wengert.data.sources import (
    breast_cancer,
    diabetes,
    digits,
    fashion_mnist,
    iris,
    italy_power_demand,
    japanese_vowels,
    karate_club,
    mnist_5k,
)
from wengert.data.split import k_fold, random_split, train_test_split
from wengert.data.ts import read_ts

__all__ = [
    "ArrayDataset",
    "Augmentation",
    "BatchAugmentation",
    "BatchSampler",
    "Compose",
    "ConcatDataset",
    "CutMix",
    "Cutout",
    "DataError",
    "DataLoader",
    "Dataset",
    "GaussianNoise",
    "IterableDataset",
    "Mixup",
    "Normalize",
    "NotFoundError",
    "RandomAffine",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "RandomSampler",
    "RandomTranslation",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "TensorDataset",
    "WeightedSampler",
    "breast_cancer",
    "diabetes",
    "digits",
    "fashion_mnist",
    "iris",
    "italy_power_demand",
    "japanese_vowels",
    "k_fold",
    "karate_club",
    "mnist_5k",
    "random_split",
    "read_idx",
    "read_ts",
    "stack",
    "train_test_split",
    "write_idx",
]
