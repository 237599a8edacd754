"""The settings of a run: their files, flags and errors."""

import argparse
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisegnet.commands.common import add_settings, given_settings, key_value
from minisegnet.train.config import Config, load, names

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)


@given(TEXTS, st.floats(0, 1e6), st.booleans(), st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), TEXTS))
def test_a_configuration_survives_its_file(text, lr, balanced, settings):
    config = Config(data=text, lr=lr, balanced=balanced, model_settings=settings)
    assert Config(**tomllib.loads(config.as_toml())) == config


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"lr": -0.1}, ValueError, "lr must be at least 0, got -0.1"),
        ({"lr": float("nan")}, ValueError, "lr must be finite"),
        ({"lr": "fast"}, TypeError, "lr must be a number, got 'fast'"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be a whole number, got 1.5"),
        ({"epochs": True}, TypeError, "epochs must be a whole number, got True"),
        ({"balanced": 1}, TypeError, "balanced must be true or false, got 1"),
        ({"sparsity": 1.5}, ValueError, "sparsity must be at most 1"),
        ({"momentum": 1}, ValueError, "momentum must be below 1, got 1.0"),
        ({"momentum": 1.5}, ValueError, "momentum must be below 1, got 1.5"),
        ({"optimizer": "adamm"}, ValueError, "unknown optimizer 'adamm'; there are sgd, adam, adamw"),
        ({"model_settings": 3}, TypeError, "model_settings must be a table, got 3"),
    ],
)
def test_a_wrong_setting_is_named(settings, error, text):
    with pytest.raises(error) as caught:
        Config(**settings)
    assert text in str(caught.value)


def test_whole_numbers_serve_as_numbers():
    assert type(Config(lr=1).lr) is float


def test_replace_knows_its_settings():
    assert Config().replace(epochs=3).epochs == 3
    with pytest.raises(ValueError, match=r"unknown setting 'epoch'; there are data, "):
        Config().replace(epoch=3)


def test_bad_files_are_named(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("lr = fast", encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.toml is not a TOML file: "):
        load(path)
    path.write_text("lr = 1.0\nlearning_rate = 1.0", encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.toml: unknown setting 'learning_rate'; there are "):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.toml")


def flags(*arguments):
    parser = argparse.ArgumentParser()
    add_settings(parser)
    return given_settings(parser.parse_args(arguments))


def test_only_flags_that_are_given_count():
    assert flags() == {}
    assert flags("--lr", "1", "--balanced", "--set", "width=8", "--set", "norm=false", "--class-weights", "enet") == {
        "lr": 1.0,
        "balanced": True,
        "model_settings": {"width": 8, "norm": False},
        "class_weights": "enet",
    }
    assert flags("--no-balanced") == {"balanced": False}


def test_every_setting_has_a_flag_with_help(capsys):
    parser = argparse.ArgumentParser()
    add_settings(parser)
    text = parser.format_help()
    for name in names():
        assert ("--set" if name == "model_settings" else "--" + name.replace("_", "-")) in text
    assert "(default: 0.002)" in text
    text = " ".join(text.split())
    assert "at most all of the data set; those at the end of an epoch that don't fill a batch are left out" in text
    assert "measured on up to 200 of its pictures" in text


@pytest.mark.parametrize("text", ["width", "=3", "a b=3", ""])
def test_a_setting_of_the_net_needs_a_name(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be NAME=VALUE"):
        key_value(text)
