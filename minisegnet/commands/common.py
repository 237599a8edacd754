"""What commands share: types for argparse, flags made from the settings of a run."""

import argparse
import ast
import dataclasses

from kernels import DEVICES


def natural(text, least=0):
    """A whole number of at least `least`, for argparse."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
    return value


def positive(text):
    """A whole number of at least 1, for argparse."""
    return natural(text, 1)


def key_value(text):
    """("width", 16) from width=16, for argparse; true and false are truth values, (3, 6) is a list.

    >>> key_value("width=16"), key_value("norm=false"), key_value("up=bilinear"), key_value("rates=3,6")
    (('width', 16), ('norm', False), ('up', 'bilinear'), ('rates', [3, 6]))
    """
    key, sign, value = (part.strip() for part in text.partition("="))
    if not sign or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, such as width=16, got {text!r}")
    if value.lower() in ("true", "false"):
        return key, value.lower() == "true"
    try:
        found = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value
    if isinstance(found, (int, float, str)):
        return key, found
    if isinstance(found, (tuple, list)) and all(isinstance(item, (int, float, str)) for item in found):
        return key, list(found)
    return key, value


def add_device(parser):
    """--device, for commands that use a trained net."""
    parser.add_argument(
        "--device", choices=DEVICES, default="cpu", help="what computes: cpu, or cuda for an NVIDIA GPU (default: cpu)"
    )


def add_settings(parser, skip=()):
    """A flag for each setting of a run; one that isn't given leaves None."""
    from ..train.config import Config

    groups = {}
    for f in dataclasses.fields(Config):
        if f.name in skip:
            continue
        group = f.metadata["group"]
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        text = f.metadata["help"].replace("%", "%%")
        if f.name == "model_settings":
            more = {"type": key_value, "action": "append", "help": f"{text}: --set width=16 --set norm=false"}
            groups[group].add_argument("--set", dest=f.name, metavar="NAME=VALUE", **more)
            continue
        default = f.default
        more = {"default": None, "help": f"{text} (default: {str(default).lower() if default != '' else 'none'})"}
        if isinstance(default, bool):
            more["action"] = argparse.BooleanOptionalAction
        else:
            more |= {"type": type(default), "metavar": f.name.upper(), "choices": f.metadata["choices"]}
            if f.metadata["choices"]:
                del more["metavar"]
        groups[group].add_argument("--" + f.name.replace("_", "-"), **more)


def given_settings(options):
    """{setting: value} of the flags that were given."""
    from ..train.config import names

    given = {name: getattr(options, name) for name in names() if getattr(options, name, None) is not None}
    if "model_settings" in given:
        given["model_settings"] = dict(given["model_settings"])
    return given
