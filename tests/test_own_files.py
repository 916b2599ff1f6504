"""Experiments on files of users: trained, continued, repeated, and their predictions, in Python and by commands."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import feedforward as ff
from feedforward.command import main
from feedforward.configuration import read_fields


def write(path, N=240, seed=0):
    rng = np.random.default_rng(seed)
    sex, level = rng.choice(["male", "female"], N), rng.integers(1, 4, N)
    fare = 1000 * (60 / level + rng.normal(0, 3, N))
    survived = (sex == "female") ^ (rng.random(N) < 0.1)
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["Class", "Sex", "Age", "Fare", "Name", "Survived"])
        for i in range(N):
            age = "" if i % 7 == 0 else f"{rng.uniform(1, 70):.1f}"
            rows.writerow([level[i], sex[i], age, f"{fare[i]:.2f}", f"Mr. {i}, x", ["no", "yes"][int(survived[i])]])
    return path


@pytest.fixture
def passengers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "passengers.csv")


OPTIONS = {"target": "Survived", "drop": ["Name"], "one_hot": ["Sex"], "missing": "mean"}
WORDS = ["--dataset", "passengers.csv", "--target", "Survived", "--drop", "Name", "--one-hot", "Sex", "--missing",
         "mean", "--no-plots"]
SILENT = {"progress": False, "figures": False}


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_three_commands_from_a_file_to_predictions(passengers, capsys):
    assert main(["--dataset", "passengers.csv", "--target", "Survived"]) == 2
    assert "hold texts, and Age (35 rows) lack values: leave out columns (--drop NAME ...)" in capsys.readouterr().err
    assert main([*WORDS, "--epochs", "30", "--out", "run"]) == 0
    said = capsys.readouterr()
    assert ("passengers: predicts Survived, one of 2 classes, from 5 standardized inputs; trains on 192 rows and tests "
            "on 48") in said.err
    assert main(["predict", "run", "passengers.csv", "--out", "predicted.csv"]) == 0
    rows, predicted = table(passengers), table("predicted.csv")
    assert list(predicted[0]) == ["Survived", "Survived=no", "Survived=yes"]
    assert np.mean([a["Survived"] == b["Survived"] for a, b in zip(rows, predicted)]) > 0.8
    assert float(predicted[0]["Survived=no"]) + float(predicted[0]["Survived=yes"]) == pytest.approx(1, abs=1e-6)
    assert main(["predict", "run", "passengers.csv", "--out", "predicted.csv"]) == 2
    assert "predicted.csv exists: name another file" in capsys.readouterr().err
    assert main(["predict", "run", "passengers.csv"]) == 0
    assert capsys.readouterr().out == Path("predicted.csv").read_text()


def test_predictions_take_the_columns_in_any_order_and_name_what_is_missing(passengers, tmp_path):
    ff.Experiment(dataset=passengers, epochs=3, **OPTIONS).run("run", **SILENT)
    expected = ff.predict_table("run", passengers)
    rows = table(passengers)
    with open("other.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["Sex", "Fare", "Class", "Age"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    for name, column in ff.predict_table("run", "other.csv").items():
        np.testing.assert_array_equal(column, expected[name])
    with open("less.csv", "w", newline="", encoding="utf-8") as file:
        file.write("Class,Age,Fare\n1,2,3\n")
    with pytest.raises(ff.DataError, match="has no column 'Sex', which the network takes: it has Class, Age, Fare"):
        ff.predict_table("run", "less.csv")
    with pytest.raises(ValueError, match="is not a run folder"):
        ff.predict_table(tmp_path, passengers)


def test_missing_values_are_an_error_for_a_network_that_was_trained_without(passengers):
    ff.Experiment(dataset=passengers, epochs=1, target="Survived", drop=["Name", "Sex", "Age"]).run("run", **SILENT)
    with open("lacks.csv", "w", encoding="utf-8") as file:
        file.write("Class,Fare\n1,\n2,5\n")
    with pytest.raises(ff.DataError, match="1 rows lack Fare: remove them, or train with --missing mean"):
        ff.predict_table("run", "lacks.csv")


def kinds(path, *rows):
    path.write_text("k,n,y\n" + "".join(f"{k},{n},{y}\n" for k, n, y in rows))
    return path


def test_the_code_of_a_value_does_not_depend_on_the_rest_of_its_file(tmp_path):
    for name, values in (("bools", ("true", "false", "")), ("codes", ("01", "02", "A1")),
                         ("texts", ("1.50", "2.50", "x"))):
        file = kinds(tmp_path / f"{name}.csv", *[(k, i, y) for i in range(8) for k, y in zip(values, ("a", "b", "a"))])
        ff.Experiment(dataset=file, target="y", one_hot=["k"], missing="mean", epochs=3).run(tmp_path / name, **SILENT)
        expected = ff.predict_table(tmp_path / name, file)["y=a"]
        part = kinds(tmp_path / "part.csv", (values[0], 0, "a"), (values[1], 0, "b"))
        np.testing.assert_array_equal(ff.predict_table(tmp_path / name, part)["y=a"], expected[:2])


@pytest.mark.parametrize("missing", [None, "mean"])
def test_unknown_and_missing_values_of_coded_columns(tmp_path, missing):
    file = kinds(tmp_path / "t.csv", *[(k, i, y) for i in range(8) for k, y in (("u", "a"), ("v", "b"))])
    run = tmp_path / "run"
    ff.Experiment(dataset=file, target="y", one_hot=["k"], missing=missing, epochs=2).run(run, **SILENT)
    unknown = kinds(tmp_path / "unknown.csv", ("u", 1, "a"), ("U\x1b", 1, "a"), ("w", 1, "a"), ("w", 1, "a"))
    lacks = kinds(tmp_path / "lacks.csv", ("u", 1, "a"), ("", 1, "a"), ("NA", 1, "a"))
    with pytest.raises(ff.DataError, match=r"'k' holds U\?, w in 3 rows, but the network only knows u, v"):
        ff.predict_table(run, unknown)
    if missing is None:
        with pytest.raises(ff.DataError, match="2 rows lack k: remove them, or train with --missing mean"):
            ff.predict_table(run, lacks)
    else:
        p = ff.predict_table(run, lacks)["y=a"]
        assert p[1] == p[2] != p[0]
    extra = tmp_path / "extra.csv"
    extra.write_text("k=u,k,n\n0,u,1\n")
    np.testing.assert_array_equal(ff.predict_table(run, extra)["y=a"], ff.predict_table(run, file)["y=a"][2:3])
    extra.write_text("k=u,k=v,n\n1,0,1\n")
    with pytest.raises(ff.DataError, match="has no column 'k', which the network takes"):
        ff.predict_table(run, extra)
    extra.write_text("k,n\nu,-inf\n")
    with pytest.raises(ff.DataError, match="the column 'n' holds 1 infinite values"):
        ff.predict_table(run, extra)


@pytest.mark.parametrize("name", ["target", "drop", "one_hot", "missing"])
@pytest.mark.parametrize("value", [3, None, [1], {"a": 1}])
def test_a_damaged_configuration_of_a_run_is_named(tmp_path, name, value):
    if (name, value) == ("missing", None):
        return
    file = kinds(tmp_path / "t.csv", *[(k, i, y) for i in range(8) for k, y in (("u", "a"), ("v", "b"))])
    if not (tmp_path / "run").exists():
        ff.Experiment(dataset=file, target="y", drop=["k"], epochs=1).run(tmp_path / "run", **SILENT)
    path = tmp_path / "run/config.json"
    config = json.loads(path.read_text())
    config["experiment"][name] = value
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"config.json is not the configuration of a run: {name} must "):
        ff.predict_table(tmp_path / "run", file)


def test_a_target_of_few_whole_floats_is_mentioned(tmp_path, capsys):
    file = kinds(tmp_path / "t.csv", *[(i, i, f"{i % 2}.0") for i in range(20)])
    hint = "if its values are classes, choose the loss cross-entropy"
    for loss, expected in ((None, True), ("mean-squared-error", False), ("cross-entropy", False)):
        ff.Experiment(dataset=file, target="y", epochs=1, loss=loss).run(figures=False)
        assert (hint in capsys.readouterr().err) == expected
    kinds(file, *[(i, i, i % 2 + 0.5) for i in range(20)])
    ff.Experiment(dataset=file, target="y", epochs=1).run(figures=False)
    assert hint not in capsys.readouterr().err


@pytest.mark.parametrize("optimizer", ["adam", "gd", "lbfgs", pytest.param("lm", marks=pytest.mark.slow)])
def test_numbers_are_predicted_in_their_units(passengers, optimizer):
    choices = {**OPTIONS, "target": "Fare", "drop": ["Name", "Survived"]}
    results = ff.Experiment(optimizer, dataset=passengers, epochs=40, dtype="float64", hidden=[10], **choices).run(
        "run", **SILENT)
    assert not results[0].error
    assert results[0].test["loss"] < 0.3  # 1 is that of the mean
    assert results[0].test["accuracy"] is None
    fares = np.array([float(row["Fare"]) for row in table(passengers)])
    predicted = ff.predict_table("run", passengers)["Fare"]
    assert np.corrcoef(predicted, fares)[0, 1] > 0.9
    assert np.sqrt(np.mean((predicted - fares) ** 2)) < 0.5 * fares.std()


def test_several_numbers_at_once(passengers):
    choices = {"target": ["Fare", "Class"], "drop": ["Name", "Survived", "Sex", "Age"]}
    with pytest.raises(ff.DataError, match="no column is left besides the target"):
        ff.Experiment(dataset=passengers, **choices).run(**SILENT)
    choices |= {"drop": ["Name"], "one_hot": ["Sex", "Survived"], "missing": "mean"}
    results = ff.Experiment(dataset=passengers, epochs=2, **choices).run("run", **SILENT)
    assert results.model.n_out == 2
    assert list(ff.predict_table("run", passengers)) == ["Fare", "Class"]


def test_a_run_on_a_file_continues_only_on_the_same_data(passengers, capsys):
    whole = ff.Experiment(dataset=passengers, epochs=6, **OPTIONS).run("whole", **SILENT)
    ff.Experiment(dataset="passengers.csv", epochs=3, **OPTIONS).run("part", **SILENT)
    results = ff.Experiment.resume("part", 5, **SILENT)
    assert main(["--resume", "part", "--epochs", "6", "--dataset", "passengers.csv", "-q", "--no-plots"]) == 0
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(ff.Model.load("part/model.safetensors").theta, whole.model.theta)
    write(passengers, seed=1)
    results = ff.Experiment.resume("part", 7, **SILENT)
    assert "is of a training on other data: data was" in results[0].error
    with pytest.raises(ValueError, match=r"target was .* and is"):
        ff.Experiment.resume("part", 7, target="Class", **SILENT)


@pytest.mark.slow
def test_figures_and_comparisons_of_files(passengers):
    results = ff.Experiment(["adam", "gd"], dataset=passengers, epochs=2, **OPTIONS).run("both", progress=False)
    assert {path.name for path in results.folder.glob("*.png")} >= {"comparison.png"}
    results = ff.Experiment(dataset=passengers, epochs=2, **OPTIONS).run("one", progress=False)
    assert {path.name for path in results.folder.glob("*.png")} == {"confusion.png", "curves.png"}
    choices = {**OPTIONS, "target": "Fare", "one_hot": ["Sex", "Survived"]}
    results = ff.Experiment(dataset=passengers, epochs=2, **choices).run("two", progress=False)
    assert {path.name for path in results.folder.glob("*.png")} == {"curves.png"}
    with pytest.raises(ValueError, match="one of those in it"):
        ff.predict_table("both", passengers)
    assert len(ff.predict_table("both/gd", passengers)["Survived"]) == 240


def test_arrays_of_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (60, 5, 4)).astype(np.uint8), rng.choice(["cat", "dog"], 60)
    np.savez("images.npz", x=x, y=y)
    results = ff.Experiment(dataset="images.npz", epochs=2).run("run", **SILENT)
    assert results.model.predict_classes(x).dtype.kind == "U"
    assert list(ff.predict_table("run", "images.npz")) == ["y", "y=cat", "y=dog"]
    with pytest.raises(ff.DataError, match="holds arrays without columns: leave out drop"):
        ff.Experiment(dataset="images.npz", drop=["a"]).run(**SILENT)


@pytest.mark.parametrize("kind", ["indices", "numbers", "columns"])
def test_own_datasets_need_no_names_of_classes(kind, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = {"indices": np.arange(60) % 3, "numbers": x[:, 0], "columns": x[:, :2]}[kind]
    own = ff.Dataset("mine", x, y, x, y)
    results = ff.Experiment("adam", dataset=own, epochs=2).run(tmp_path / "run", progress=False)
    assert results.model.n_out == {"indices": 3, "numbers": 1, "columns": 2}[kind]
    assert not results[0].error
    assert not results[0].problems
    with pytest.raises(ValueError, match="the y_train of mine holds <U1: give indices into classes"):
        ff.Experiment(dataset=ff.Dataset("mine", x, np.array(["a"] * 60), x, np.array(["a"] * 60))).run(**SILENT)


@pytest.mark.parametrize(("options", "message"), [
    ({"dataset": "digits", "target": "a"}, "target, drop, one_hot and missing are for a file of your own"),
    ({"dataset": "passengers.csv", "target": "Fare", "loss": "cross-entropy", "drop": ["Name"], "one_hot": ["Sex"],
      "missing": "mean"}, "the target Fare holds fractions, which are no classes"),
    ({"dataset": "passengers.csv", "missing": "median"}, "missing must be"),
    ({"dataset": "passengers.csv", "test_share": 1.0}, "test_share must be above 0 and below 1"),
    ({"dataset": "passengers.csv", "drop": [3]}, "drop must hold names of columns"),
    ({"dataset": "passengers.csv", "target": 3}, "target must hold names of columns"),
    ({"dataset": "passengers.xlsx"}, "no dataset is called 'passengers.xlsx': choose from")])
def test_what_does_not_fit_is_named(passengers, options, message):
    with pytest.raises((ValueError, ff.DataError), match=message):
        ff.Experiment(**options).run(**SILENT)


def test_repeat_gives_the_same_bytes_or_says_what_differs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    quick = ["--dataset", "digits", "--epochs", "3", "--no-plots", "-q", "--hidden", "8"]
    assert main([*quick, "--optimizer", "adam", "lbfgs", "--dropout", "0.2", "--seeds", "2", "--out", "first"]) == 0
    assert main(["repeat", "first", "--no-plots", "-q", "--out", "second"]) == 0
    assert "the weights and histories are those of first, byte for byte" in capsys.readouterr().out
    assert main([*quick, "--out", "one", "--seed", "1"]) == 0
    assert main(["--resume", "one", "--epochs", "5", "--no-plots", "-q"]) == 0
    assert main(["repeat", "one", "--no-plots", "-q"]) == 0
    config = json.loads((tmp_path / "one/config.json").read_text())
    config["experiment"]["seed"] = 2
    (tmp_path / "one/config.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert main(["repeat", "one", "--no-plots", "-q", "--out", "third"]) == 1
    said = capsys.readouterr().err
    assert "third/history.csv differs from one/history.csv, first in line 2" in said
    assert "third/model.safetensors differs from one/model.safetensors" in said
    assert main(["repeat", "nothing"]) == 2
    assert "nothing is not a run folder: it holds no config.json" in capsys.readouterr().err


def test_a_configuration_file_gives_the_options_that_the_command_line_does_not(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text('dataset = "digits"\noptimizer = ["adam", "gd"]\nepochs = 5\nhidden = [8]\n'
                                     '[fields]\nadam.beta1 = 0.8\n')
    assert read_fields("c.toml")["fields"] == {"adam.beta1": 0.8}
    for name, content in (("bom.toml", "epochs = 3"), ("bom.json", '{"epochs": 3}')):
        (tmp_path / name).write_text(content, encoding="utf-8-sig")
        assert read_fields(name) == {"epochs": 3}
    assert main(["--config", "c.toml", "--epochs", "2", "--no-plots", "-q", "--out", "run"]) == 0
    config = json.loads((tmp_path / "run/config.json").read_text())["experiment"]
    assert (config["epochs"], config["hidden"], config["fields"]) == (2, [8], {"adam.beta1": 0.8})
    assert main(["--config", "run/config.json", "--no-plots", "-q", "--out", "again"]) == 0
    for name in ("adam", "gd"):
        assert (tmp_path / "again" / name / "model.safetensors").read_bytes() == (
            tmp_path / "run" / name / "model.safetensors").read_bytes()
    capsys.readouterr()
    for text, name, message in (("epoch = 3", "a.toml", "Experiment has no field 'epoch': did you mean 'epochs'?"),
                                ("epochs = ", "b.toml", "b.toml is not a configuration that can be loaded"),
                                ("[1]", "d.json", "it must hold fields of an Experiment"),
                                ('{"epochs": 1, "epochs": 2}', "e.json", "the key 'epochs' occurs twice"),
                                ("epochs: 3", "f.yaml", "its name must end in .toml or .json")):
        (tmp_path / name).write_text(text)
        assert main(["--config", name]) == 2
        assert message in capsys.readouterr().err
    assert main(["--config", "nothing.toml"]) == 2
    assert "nothing.toml" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"feedforward {ff.__version__}\n"
