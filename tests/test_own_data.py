"""Data of users: frames, images, labels of every kind, columns in another order, what is said about unusual data."""

import copy
import pickle
import warnings

import numpy as np
import pytest

from nn import (
    BinaryCrossEntropy,
    Checkpoint,
    CrossEntropy,
    Dense,
    Flatten,
    MeanSquaredError,
    Model,
    ReLU,
    Sigmoid,
    Softmax,
    Standardize,
)
from nn.labels import to_indices
from optimizers import get

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))
INDEX = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)

LABELS = {
    "texts": ["low", "middle", "up"], "from 1": [1, 2, 3], "negative": [-5, 0, 40], "one letter": ["b", "c", "a"],
}


def network(outputs=3, **options):
    last, loss = (Sigmoid(), BinaryCrossEntropy()) if outputs == 1 else (Softmax(), CrossEntropy())
    return Model([Dense(4, 8), ReLU(), Dense(8, outputs), last], loss, **options)


def train(model, x, y, **options):
    return model.fit(x, y, get("adam", lr=0.05), epochs=60, progress=False, **options)


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("kind", [list, np.array, lambda y: np.array(y, dtype=object)])
def test_labels_of_any_kind(name, kind, tmp_path):
    names = LABELS[name]
    y = kind([names[i] for i in INDEX])
    model = network()
    history = train(model, X, y, validation_data=(X, y))
    assert model.classes == tuple(sorted(names))
    assert history[-1]["val_accuracy"] > 0.9
    predicted = model.predict_classes(X)
    assert np.mean(predicted == np.asarray(y, predicted.dtype)) == history[-1]["val_accuracy"]
    assert model.evaluate(X, y)["accuracy"] == history[-1]["val_accuracy"]
    model.save(tmp_path / "model")
    for other in (Model.load(tmp_path / "model"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.classes == model.classes
        np.testing.assert_array_equal(other.predict_classes(X), predicted)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("labels", [(False, True), ("no", "yes"), (1, 2), (-1, 1)])
def test_two_classes_with_one_output_or_two(outputs, labels):
    y = np.asarray(labels)[(X[:, 0] > 0).astype(int)]
    model = network(outputs)
    train(model, X, y)
    assert model.classes == labels
    assert model.predict_classes(X).dtype.kind == y.dtype.kind
    assert np.mean(model.predict_classes(X) == y) > 0.9
    one_hot = np.eye(2)[(X[:, 0] > 0).astype(int)]
    if outputs == 2:  # rows of numbers stay what they are
        assert model.evaluate(X, one_hot) == model.evaluate(X, y)


def test_indices_stay_indices_even_if_a_class_is_missing():
    model = network()
    train(model, X, np.minimum(INDEX, 1))
    assert model.classes is None
    assert model.predict_classes(X).dtype == np.int64


def test_a_second_fit_keeps_the_classes():
    model = network()
    y = np.array(["low", "middle", "up"])[INDEX]
    train(model, X, y)
    some = INDEX < 2
    train(model, X[some], y[some], class_weight={"low": 3.0})
    assert model.classes == ("low", "middle", "up")
    with pytest.raises(ValueError, match="y holds the label 'high' in row 0, which is none of the classes 'low', 'mid"):
        train(model, X[:3], ["high", "low", "up"])
    with pytest.raises(ValueError, match="class_weight has the label 'high', but labels are 'low', 'middle', 'up'"):
        train(model, X, y, class_weight={"high": 3.0})
    with pytest.raises(ValueError, match="y holds int64, but the classes are 'low', 'middle', 'up'"):
        model.evaluate(X, INDEX)


def test_class_weights_by_label_are_those_by_index():
    a, b = network(seed=3), network(seed=3)
    train(a, X, np.array(["low", "middle", "up"])[INDEX], class_weight={"up": 5})
    train(b, X, INDEX, class_weight={2: 5})
    np.testing.assert_array_equal(a.theta, b.theta)


def test_a_checkpoint_knows_the_classes_and_the_columns(tmp_path):
    pandas = pytest.importorskip("pandas")
    x, y = pandas.DataFrame(X, columns=list("dcba")), np.array(["low", "middle", "up"])[INDEX]
    whole, results = network(), []
    whole.fit(x, y, get("adam"), epochs=4, progress=False)
    for epochs in (2, 4):
        model, optimizer, checkpoint = network(), get("adam"), Checkpoint(tmp_path / "checkpoint")
        history = checkpoint.restore(model, optimizer)
        results.append((model.classes, model.feature_names))
        model.fit(x, y, optimizer, epochs - len(history), history=history, callbacks=[checkpoint], progress=False)
    assert results == [(None, None), (("low", "middle", "up"), ("d", "c", "b", "a"))]
    np.testing.assert_array_equal(model.theta, whole.theta)
    other = network(classes=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"is of a training with other settings: model\.classes was"):
        Checkpoint(tmp_path / "checkpoint").restore(other, get("adam"))
    with pytest.raises(ValueError, match="is of a training with other settings: model"):
        Checkpoint(tmp_path / "checkpoint").restore(network(2), get("adam"))


def test_what_is_refused_changes_nothing():
    model = network()
    for y, message in (
            (["a", "b"] * 30, r"y holds 2 different labels \('a', 'b'\), but the model has 3 outputs: end it "),
            ([None, "a", "b"] * 20, "y lacks 20 labels, the first in row 0: remove those rows"),
            (["a", 1, "b"] * 20, "y holds objects of the types int, str: give labels of one type"),
            ([7, 8] * 30, r"y holds the label 8, but the model has 3 outputs: labels must be 0 to 2, or name them by")):
        with pytest.raises(ValueError, match=message):
            train(model, X, np.array(y, dtype=object))
        assert model.classes is None
    with pytest.raises(ValueError, match="y holds labels, such as 'a', but the model predicts numbers, because"):
        Model([Dense(4, 1)], MeanSquaredError()).fit(X, ["a"] * 60, get("gd"), progress=False)
    with pytest.raises(ValueError, match="but the model has no classes: train it by fit, which learns them"):
        network().evaluate(X, ["a"] * 60)
    with pytest.raises(ValueError, match="epochs"):
        model.fit(X, ["a", "b", "c"] * 20, get("adam"), epochs=-1)
    assert model.classes is None


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "a", "b"], ["a", 1, 2], "abc", [1.5, 2.0, 3.0], 3, [None] * 3])
def test_classes_that_are_none_are_refused(classes):
    with pytest.raises(ValueError, match="classes"):
        network(classes=classes)


def test_indices_of_labels_need_no_order():
    np.testing.assert_array_equal(to_indices(np.array(["b", "a", "c"]), ("c", "a", "b")), [2, 1, 0])
    np.testing.assert_array_equal(to_indices(np.array([True, False]), (0, 1)), [1, 0])


class Frame:
    """What the two libraries have in common."""

    def __init__(self, columns):
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return Frame({n: self._columns[n] for n in name}) if isinstance(name, list) else self._columns[name]

    def __len__(self):
        return len(self._columns[self.columns[0]])

    def __array__(self, dtype=None, copy=None):
        return np.array([self._columns[name] for name in self.columns], dtype).T


def frames():
    kinds = [pytest.param(Frame, id="frame")]
    for library in ("pandas", "polars"):
        kinds.append(pytest.param(library, id=library))
    return kinds


@pytest.mark.parametrize("kind", frames())
def test_frames(kind, tmp_path):
    make = Frame if kind is Frame else pytest.importorskip(kind).DataFrame
    table = {name: X[:, i] for i, name in enumerate("dcba")}
    x, y = make(table), make({"class": np.array(["low", "middle", "up"])[INDEX]})
    model = network()
    train(model, x, y, validation_data=(x, y))
    assert model.feature_names == ("d", "c", "b", "a")
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert loaded.feature_names == model.feature_names
    np.testing.assert_array_equal(loaded.predict(x), model.predict(X))  # an array has no names to check
    other = make({name: table[name] for name in "abcd"})
    with pytest.raises(ValueError, match=r"x has its columns in another order: .*write x\[list\(model.fea"):
        loaded.predict(other)
    np.testing.assert_array_equal(loaded.predict(other[list(loaded.feature_names)]), model.predict(X))
    with pytest.raises(ValueError, match="x has other columns too: the model was trained on 4 columns, 'd', 'c', 'b'"):
        loaded.evaluate(make({**table, "e": X[:, 0]}), y)
    with pytest.raises(ValueError, match="x lacks the columns 'c', which the model was trained on"):
        loaded.predict(make({name: table[name] for name in "dba"}))
    with pytest.raises(ValueError, match="another order"):
        train(network(), x, y, validation_data=(other, y))


@pytest.mark.parametrize("kind", frames())
def test_a_frame_with_texts_or_missing_values_names_its_columns(kind):
    make = Frame if kind is Frame else pytest.importorskip(kind).DataFrame
    table = {name: X[:, i].copy() for i, name in enumerate("abcd")}
    texts = make({**table, "b": np.array(["x", "y"] * 30, dtype=object), "d": np.array(["z"] * 60, dtype=object)})
    with pytest.raises(ValueError, match="the columns 'b', 'd' of x do not hold numbers: leave them out, or code them"):
        train(network(), texts, INDEX)
    table["c"][[3, 8]] = np.nan
    with pytest.raises(ValueError, match=r"first in row 3, in the columns 'c' \(2\): remove or correct"):
        train(network(), make(table), INDEX)


def test_pandas_columns_with_missing_integers_and_its_categories():
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame(X, columns=list("abcd"))
    x["a"] = pandas.array([1, None] * 30, dtype="Int64")
    with pytest.raises(ValueError, match=r"in the columns 'a' \(30\)"):
        train(network(), x, INDEX)
    x["a"] = pandas.array([True, False] * 30, dtype="boolean")
    model = network()
    train(model, x, pandas.Series(np.array(["low", "middle", "up"])[INDEX], dtype="category"))
    assert model.classes == ("low", "middle", "up")
    train(network(), pandas.DataFrame(X), INDEX)  # columns without names
    with pytest.raises(ValueError, match="y lacks 1 labels, the first in row 2"):
        train(network(), X, pandas.Series(["a", "b", None] + ["c"] * 57, dtype="string"))
    x.columns = list("abca")
    x["c"] = "text"
    with pytest.raises(ValueError, match="two columns of x have the same name"):
        train(network(), x, INDEX)


def test_images_are_flattened_and_that_is_said():
    images = rng.integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)
    y = np.arange(20) % 2
    plain = Model([Dense(90, 2), Softmax()], CrossEntropy())
    with pytest.warns(UserWarning, match="flattened|reaches") as said:
        plain.fit(images, y, get("adam"))
    texts = [str(warning.message) for warning in said]
    assert ("each example of x, of shape (6, 5, 3), is flattened to a row of 90: to say so, begin the model with "
            "Flatten((6, 5, 3))") in texts
    assert ("x reaches from 0 to 255, and networks learn best from numbers of about 1: divide x, such as by 255, or "
            "begin the model with Standardize.of(x)") in texts
    rows = images.reshape(20, 90)
    np.testing.assert_array_equal(plain.predict(images), plain.predict(rows))
    for first in (Flatten(), Flatten((6, 5, 3))):
        model = Model([first, Standardize.of(rows), Dense(90, 2), Softmax()], CrossEntropy())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(images, y, get("adam"))
        np.testing.assert_array_equal(model.predict(images), model.predict(rows))
    with pytest.raises(ValueError, match=r"layer 0 \(Flatten\(.*\)\) expects x of shape \(N, 6, 5, 3\)"):
        model.predict(images.reshape(20, 5, 6, 3))


@pytest.mark.parametrize("shape", [3, (0,), (2, -1), ("a",), "ab", (1,) * 33])
def test_shapes_that_are_none_are_refused(shape):
    with pytest.raises(ValueError, match="Flatten: shape must be a tuple of at most 32 whole numbers of at least 1"):
        Flatten(shape)


def test_a_trained_model_keeps_the_meaning_of_its_outputs(tmp_path):
    model = network()
    train(model, X, INDEX)
    model.save(tmp_path / "model")
    model.to_onnx(tmp_path / "model.onnx")
    read = Model.from_onnx(tmp_path / "model.onnx")
    for trained in (model, Model.load(tmp_path / "model"), read, copy.deepcopy(model)):
        with pytest.raises(ValueError, match="y holds the label 3, but the model has 3 outputs"):
            train(trained, X, INDEX + 1)
        assert trained.classes is None
    untrained = copy.deepcopy(network())
    train(untrained, X, INDEX + 1)
    assert untrained.classes == (1, 2, 3)


def test_a_fit_that_fails_teaches_nothing():
    optimizer = get("adam")
    train_other = network()
    train_other.fit(X, INDEX, optimizer, progress=False)
    model, y = network(), np.array(["low", "middle", "up"])[INDEX]
    with pytest.raises(ValueError, match="has taken 1 step on another vector"):
        model.fit(X, y, optimizer, progress=False)
    assert model.classes is None

    class Fails:
        def on_fit_begin(self, model, plan):
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        model.fit(X, y, get("adam"), callbacks=[Fails()], progress=False)
    assert model.classes is None
    train(model, X, INDEX)


def test_lists_of_mixed_and_missing_labels_are_refused():
    for y, message in ((["a", float("nan"), "b"] * 20, "y lacks 20 labels, the first in row 1"),
                       (["a", 1, "b"] * 20, "y holds objects of the types int, str")):
        with pytest.raises(ValueError, match=message):
            train(network(), X, y)


def test_numbers_of_two_columns_of_a_frame():
    pandas = pytest.importorskip("pandas")
    y = pandas.DataFrame({"a": INDEX, "b": INDEX > 0})
    model = Model([Dense(4, 2)], MeanSquaredError())
    model.fit(X, y, get("gd"), progress=False)
    integers = pandas.DataFrame({0: X[:, 0], 1: INDEX > 0, 2: INDEX, 3: pandas.array(INDEX, dtype="Int64")})
    train(network(), integers, INDEX)
    assert Standardize.of(integers).n_in == 4


def test_huge_weights_count_as_any_others():
    a, b = network(), network()
    train(a, X, INDEX, sample_weight=np.full(60, 1e308), class_weight={0: 1e308, 1: 1e308, 2: 1e308})
    train(b, X, INDEX)
    np.testing.assert_array_equal(a.theta, b.theta)


def test_class_weights_are_for_the_training_part_of_a_split():
    histories = []
    for weight in (None, {0: 10.0}):
        model = network()
        before = model.theta.copy()
        histories.append(model.fit(X, INDEX, get("gd", lr=1e-12), 1, validation_split=0.3, class_weight=weight,
                                   progress=False))
        model.theta = before
    assert histories[0][0]["val_loss"] == pytest.approx(histories[1][0]["val_loss"], rel=1e-6)
    assert histories[0][0]["loss"] != pytest.approx(histories[1][0]["loss"], rel=1e-3)


def test_batches_of_frames_have_the_same_columns():
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame(X, columns=list("abcd"))
    model = network()
    with pytest.raises(ValueError, match="batch 2: x has its columns in another order"):
        model.fit_batches([(x, INDEX), (x[list("dcba")], INDEX)], get("adam"), progress=False)
    model.fit_batches([(x, INDEX)], get("adam"), progress=False)
    assert model.feature_names == ("a", "b", "c", "d")


def test_sparse_data_are_refused():
    from scipy.sparse import csr_array

    with pytest.raises(ValueError, match=r"x is sparse: write x.toarray\(\)"):
        network().predict(csr_array(X))


def test_validation_split_is_drawn_from_the_seed_and_left_out_of_training():
    model = network()
    seen = []

    class See:
        def on_fit_begin(self, model, plan):
            training, validation = plan["training"].batches, plan["training"].validation
            seen.append((training.x.copy(), validation[0].copy()))

    for seed in (0, 0, 1):
        model = network(seed=seed)
        history = train(model, X, INDEX, validation_split=0.25, callbacks=[See()])
        assert history[-1]["val_loss"] is not None
    (a, a_held), (_, b_held), (_, c_held) = seen
    assert (len(a), len(a_held)) == (45, 15)
    np.testing.assert_array_equal(a_held, b_held)
    assert not np.array_equal(a_held, c_held)
    rows = {tuple(row) for row in np.concatenate([a, a_held])}
    assert rows == {tuple(row) for row in X.astype("float32")}
    weighted = network()
    weights = rng.uniform(0, 2, 60)
    train(weighted, X, INDEX, validation_split=0.5, sample_weight=weights)
    for options, message in (({"validation_split": 1.0}, "validation_split must be at least 0 and below 1"),
                             ({"validation_split": 0.999}, "leaves none to train on"),
                             ({"validation_split": 0.5, "validation_data": (X, INDEX)}, "not both")):
        with pytest.raises(ValueError, match=message):
            train(network(), X, INDEX, **options)
