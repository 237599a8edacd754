"""`minisegnet bench`: what is measured, how, and what is printed. No test depends on how long anything takes."""

import itertools
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from threadpoolctl import threadpool_info

import kernels
from minisegnet import layers
from minisegnet.bench import command, measure, ops, probe, roofline, rows, show, step
from minisegnet.cli import main

requires_torch = pytest.mark.skipif(measure.import_torch() is None, reason="PyTorch is not installed")


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # import torch raises ImportError now
    assert measure.import_torch() is None


# ------------------------------------------------------------------ taking turns


class Clock:
    """A clock that only calls move on: `call(name, seconds)` makes one that takes so long."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now

    def call(self, name, *durations):
        durations = itertools.cycle(durations)

        def run():
            self.calls.append(name)
            self.now += next(durations)

        return run


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(measure.time, "perf_counter", clock)
    return clock


def test_long_calls_take_turns_there_and_back(clock):
    calls = {"a": clock.call("a", 0.25), "b": clock.call("b", 0.5)}
    times = measure.alternate(calls, rounds=3, seconds=1.0)
    # first each twice, to compile and to find out; then turns of two, the first of them to warm up
    assert clock.calls == [*"aabb", *"aabb", *"bbaa", *"aabb"]
    assert times == {"a": [0.25] * 3, "b": [0.5] * 3}


def test_what_a_turn_begins_with_is_not_counted(clock):
    slow_at_first = clock.call("a", 1.0, 0.125, *[4.0, 0.125, 0.25, 0.125, 0.5] * 2)
    times = measure.alternate({"a": slow_at_first, "b": clock.call("b", 0.125)}, rounds=2, seconds=2.0)
    assert times["a"] == [0.125, 0.25, 0.125, 0.5] * 2  # turns of four calls, after one of 4 s
    assert times["b"] == [0.125] * 8


def test_short_calls_warm_up_until_the_others_threads_sleep(clock):
    times = measure.alternate({"a": clock.call("a", 0.0078125)}, rounds=2, seconds=0.0)
    assert len(clock.calls) == 2 + 2 * (3 + 1)  # 3 calls take more than WARM_UP
    assert times == {"a": [0.0078125] * 2}


def test_very_long_calls_get_fewer_turns(clock):
    times = measure.alternate({"a": clock.call("a", 8.0), "b": clock.call("b", 1.0)}, rounds=7, seconds=1.0)
    assert times == {"a": [8.0], "b": [1.0]}  # a turn is two calls, and two of 8 s are nearly LONGEST
    assert measure.alternate({"a": clock.call("a", 100.0)}, rounds=7, seconds=1.0) == {"a": [100.0]}


def test_medians_and_ratio():
    assert measure.milliseconds({"a": [9.0, 0.001, 0.003], "b": [0.002]}) == {"a": 3.0, "b": 2.0}
    assert measure.ratio(2.0, {"NCHW": 3.0, "channels_last": 5.0}) == 1.5
    assert measure.ratio(2.0, {}) is None


def test_threads_are_set_for_all_and_set_back():
    torch, before = measure.import_torch(), kernels.get_num_threads()
    torch_before, blas_before = torch.get_num_threads() if torch else None, blas_threads()
    with measure.threads(1) as count:
        assert count == kernels.get_num_threads() == 1
        assert set(blas_threads()) <= {1}
        assert not torch or torch.get_num_threads() == 1
    assert kernels.get_num_threads() == before
    assert blas_threads() == blas_before
    assert not torch or torch.get_num_threads() == torch_before
    with measure.threads() as count:
        assert count == before


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_a_new_process_is_told_the_number_of_threads():
    assert measure.thread_environment(3)["NUMBA_NUM_THREADS"] == "3"
    assert measure.thread_environment(3)["OMP_NUM_THREADS"] == "3"


# ------------------------------------------------------------------ the rows of `bench ops`


def test_rows_are_those_that_a_unet_needs():
    all_rows, quick = list(rows.rows()), list(rows.rows(quick=True))
    names = [row.name for row in all_rows]
    assert len(set(names)) == len(names)
    assert {row.name for row in quick} < set(names)
    wide = [row for row in all_rows if row.group == "conv 3x3"]
    channels = {tuple(row.shape.split()[0].split("x")[:2]) for row in wide}
    assert channels == {("4", "3"), ("4", "16"), ("4", "32"), ("4", "64"), ("4", "128")}
    assert sorted(row.op.split()[-1] for row in wide) == sorted(["forward", "backward-input", "backward-weight"] * 5)
    assert {"pooling", "upsampling", "batch norm", "cross-entropy"} <= {row.group for row in quick}


@pytest.mark.parametrize(
    ("name", "flops", "moved"),
    [
        # the layer's own count of multiply-adds, twice; x, w, b and y
        ("conv 3x3 forward 4x16x176x240 to 16", 778567680, 4 * (2 * 2703360 + 16 * 16 * 9 + 16)),
        ("conv 3x3 depthwise backward-input 4x32x88x120 to 32", 24330240, 4 * (2 * 1351680 + 32 * 9)),
        ("ReLU backward 4x16x176x240", 2703360, 4 * 3 * 2703360),  # dy, y, dx
        ("update Adam 1024x2048", 13 * 2**21, 4 * 7 * 2**21),  # value, grad, m, v read; value, m, v written
        ("max pool 2 forward 4x16x176x240", 3 * 675840, 4 * (2703360 + 2 * 675840)),  # x, y and the switches
        ("concat forward 4x16x176x240 twice", 0, 4 * 4 * 2703360),
    ],
)
def test_operations_and_bytes_by_hand(name, flops, moved):
    row = next(row for row in rows.rows() if row.name == name)
    assert row.flops == flops
    with kernels.use("reference"):
        assert row.make(lambda *shape: np.ones(shape, np.float32)).ours("cpu").moved == moved


def test_conv_flops_are_twice_the_layers_multiply_adds():
    row = next(row for row in rows.rows() if row.name == "conv 3x3 forward 4x3x176x240 to 16")
    conv = layers.Conv2d(3, 16, 3, padding=1, rng=0)
    assert row.flops == 2 * conv.multiply_adds((4, 3, 176, 240), (4, 16, 176, 240))


@requires_torch
@pytest.mark.parametrize("row", list(rows.rows(scale=rows.SMALL)), ids=lambda row: row.name)
def test_both_frameworks_compute_the_same(row):
    rng = np.random.default_rng(0)
    with kernels.use("reference"):
        contest = row.make(lambda *shape: ops.uniform(rng, *shape))
        theirs = [contest.theirs(variant, "cpu") for variant in contest.variants]  # first: an update changes our array
        expected = contest.ours("cpu").call()
        for call in theirs:
            ops.check_agreement(row.name, expected, call())


@requires_torch
@pytest.mark.parametrize(
    ("ours", "text"),
    [
        (np.full((2, 3), 1.02), r"result 0 differs from ours by 2\.0e-02 \(relative\), expected at most 0\.001"),
        (np.full((2, 3), np.nan), "result 0 differs from ours by nan"),
        (np.ones((3, 2)), r"result 0 has shape \(2, 3\), ours \(3, 2\)"),
    ],
)
def test_a_wrong_result_is_not_timed(ours, text):
    import torch

    ops.check_agreement("op", [np.full((2, 3), 1.0001), np.ones(4)], [torch.ones(2, 3)])
    with pytest.raises(RuntimeError, match=f"op: {text}"):
        ops.check_agreement("op", [ours.astype(np.float32)], [torch.ones(2, 3)])


# ------------------------------------------------------------------ bench ops, as a whole


OPS_KEYS = {"group", "op", "shape", "flops", "bytes", "ms", "gflops", "gbs", "percent_of_peak", "timed_calls"}
OPS_KEYS |= {"torch_ms", "ratio", "best_ms"}
HEAD_KEYS = {"bench", "caution", "backend", "rung", "quick", "threads", "machine", "peaks", "rows", "others_cores"}


def run_json(capsys, *arguments):
    assert main(["bench", *arguments, "--threads", "1", "--quick", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@requires_torch
def test_ops_as_json(capsys):
    document = run_json(capsys, "ops", "--only", "ReLU")
    assert set(document) == HEAD_KEYS | {"summary"}
    assert (document["bench"], document["backend"], document["rung"], document["threads"]) == ("ops", "cpu", None, 1)
    assert document["machine"]["torch"]
    assert document["machine"]["simd"] in ("avx512", "avx2", "neon", "scalar")
    assert document["peaks"]["gflops"] > 0
    assert document["peaks"]["gbs"] > 0
    assert [row["op"] for row in document["rows"]] == ["ReLU forward", "ReLU backward"]
    for row in document["rows"]:
        assert set(row) == OPS_KEYS
        assert set(row["torch_ms"]) == {"NCHW", "channels_last"}
        assert row["ratio"] == pytest.approx(min(row["torch_ms"].values()) / row["ms"])
        assert row["gflops"] == pytest.approx(row["flops"] / row["ms"] / 1e6)
        assert row["gbs"] == pytest.approx(row["bytes"] / row["ms"] / 1e6)
        fastest = max(row["flops"] / document["peaks"]["gflops"], row["bytes"] / document["peaks"]["gbs"]) / 1e6
        assert row["percent_of_peak"] == pytest.approx(100 * fastest / row["ms"])
        assert row["timed_calls"] >= 3
        assert row["best_ms"]["ours"] <= row["ms"]
    ratios = [row["ratio"] for row in document["rows"]]
    (group,) = document["summary"]
    assert group["geometric_mean"] == pytest.approx(math.sqrt(ratios[0] * ratios[1]))
    assert group["minimum"] == min(ratios)


def test_ops_without_torch(capsys, no_torch, tmp_path):
    file, picture = tmp_path / "ops.json", tmp_path / "roofline.png"
    options = ["--only", "conv 1x1 forward", "--backend", "reference", "--quick", "--threads", "1"]
    assert main(["bench", "ops", *options, "--json", str(file), "--plot", str(picture)]) == 0
    text = capsys.readouterr().out
    assert "PyTorch is not installed" in text
    assert "ratio " not in text.splitlines()[5]
    document = json.loads(file.read_text(encoding="utf-8"))
    (row,) = document["rows"]
    assert row["torch_ms"] == {}
    assert row["ratio"] is None
    assert document["summary"] == []
    assert document["backend"] == "reference"
    with Image.open(picture) as image:
        assert min(image.size) > 500


def test_a_rung_is_passed_on(monkeypatch):
    asked = []
    monkeypatch.setattr(ops, "measure", lambda row, *settings: asked.append((row.name, settings)) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["bench", "ops", "--only", "conv 1x1 forward", "--rung", "loops", "--threads", "1"])
    assert asked == [("conv 1x1 forward 1x16x22x30 to 11", ("cpu", "loops", measure.FULL))]  # small: loops are slow


# ------------------------------------------------------------------ bench step


ONCE = {"rounds": 1, "seconds": 0.0}
TINY = step.Model("tiny", lambda: layers.Sequential(layers.Conv2d(1, 2, 3, padding=1, rng=0)), (2, 1, 4, 5), 2, False)


@requires_torch
def test_one_models_row():
    with measure.threads(1):
        row = step.measure(TINY, "reference", None, ONCE)
        quick = step.measure(TINY, "reference", None, ONCE, fused=False)
    assert set(quick["torch_ms"]) == {"NCHW", "channels_last"}
    assert quick["ratio_fused"] is None
    assert set(row["torch_ms"]) == {"NCHW", "channels_last", "NCHW fused", "channels_last fused"}
    plain = [row["torch_ms"][layout] for layout in ("NCHW", "channels_last")]
    assert row["ratio"] == pytest.approx(min(plain) / row["ms"])
    assert row["ratio_fused"] == pytest.approx(min(row["torch_ms"].values()) / row["ms"])
    assert row["flops"] == 3 * 2 * (2 * 4 * 5) * 2 * 9
    assert set(row["best_ms"]) == {"ours", *row["torch_ms"]}
    assert row["gflops"] == pytest.approx(row["flops"] / row["ms"] / 1e6)


@requires_torch
def test_a_net_that_trains_differently_is_not_timed(monkeypatch):
    monkeypatch.setattr(step.optim, "Adam", lambda parameters, lr: step.optim.SGD(parameters, 100 * lr))
    with pytest.raises(RuntimeError, match=r"tiny, PyTorch NCHW: the first losses are \d.*, ours \d"):
        step.measure(TINY, "reference", None, ONCE)


@pytest.mark.parametrize("key", step.MODELS)
def test_models_take_their_batches(key):
    model = step.MODELS[key]
    x, target = model.batch()
    assert x.shape == model.x_shape
    assert x.dtype == np.float32
    assert target.max() == model.classes - 1
    with kernels.use("reference"):
        scores = model.build().eval()(x[:1])
    assert scores.shape[1:2] == (model.classes,)
    assert (scores.shape[0], *scores.shape[2:]) == target[:1].shape


def test_against_the_numpy_rungs():
    found = step.against_numpy(TINY, "reference", None, ["reference", "windows"])
    assert set(found) == {"windows"}  # not against itself
    assert found["windows"]["times"] > 0


def test_step_as_json_and_as_a_table(capsys, monkeypatch):
    """With the small classifier, and without what takes long: NumPy's rungs. Its probes are real processes."""
    monkeypatch.setattr(command, "QUICK", ONCE)
    monkeypatch.setattr(step, "against_numpy", lambda *arguments: {"windows": {"ms": 50.0, "times": 2.5}})
    document = run_json(capsys, "step", "--only", "simple", "--backend", "reference")
    assert set(document) == HEAD_KEYS
    (row,) = document["rows"]
    assert row["model"] == "SimpleCNN"
    assert row["input"] == [32, 3, 16, 16]
    assert row["numpy"] == {"windows": {"ms": 50.0, "times": 2.5}}
    assert row["first_step_seconds"] > 0
    assert row["percent_of_peak"] == pytest.approx(100 * row["gflops"] / document["peaks"]["gflops"])
    if row["memory_is_exact"]:
        largest = 4 * 2048 * 1024  # bytes of the weights of its largest layer
        assert 4 * largest < row["memory_peak_bytes"] < 100 * largest  # value, grad, m and v
    if measure.import_torch():
        assert row["ratio"] <= row["torch_ms"]["NCHW"] / row["ms"]
        assert set(row["torch_memory_peak_bytes"]) == {"NCHW"}
    text = show.report(document)
    assert "SimpleCNN" in text
    assert "2.5 times as fast as with the convolution of the NumPy rung `windows` (50.0 ms)" in text


def test_a_probe_that_fails_says_why():
    with pytest.raises(
        RuntimeError, match=r"measuring SimpleCNN \(ours\) ended with code 1: .*unknown backend 'abacus'"
    ):
        step.probe("simple", "ours", "abacus", None, 1)


# ------------------------------------------------------------------ the first step and the memory peak


MIB = 2**20


class Allocating:
    """Builds steps that use `first` MiB in the very first step of all, as compiling does, and `each` in every step."""

    def __init__(self, first, each):
        self.first, self.each = first, each

    def __call__(self):
        own = np.ones(8 * MIB, np.uint8)

        def run():
            sizes, self.first = (self.each, self.first), 0
            return [np.ones(size * MIB, np.uint8) for size in sizes], own

        return run


@pytest.mark.skipif(not probe.reset_peak(), reason="this system can't count a peak anew")
def test_memory_is_that_of_a_step_without_what_comes_first():
    found = probe.measure(Allocating(first=300, each=60))
    assert found["memory_is_exact"]
    assert abs(found["memory_peak_bytes"] / MIB - 68) < 12
    assert found["first_step_seconds"] > 0


def test_where_a_peak_cannot_be_counted_anew_it_is_an_upper_bound(monkeypatch):
    monkeypatch.setattr(probe, "reset_peak", lambda: False)
    peaks = iter([100 * MIB, 180 * MIB])
    monkeypatch.setattr(probe, "peak_bytes", lambda: next(peaks))
    found = probe.measure(Allocating(first=1, each=1))
    assert (found["memory_peak_bytes"], found["memory_is_exact"]) == (80 * MIB, False)
    assert show.mebibytes(found["memory_peak_bytes"], found["memory_is_exact"]) == "at most 80 MiB"


def test_where_memory_is_not_measured_it_says_so(monkeypatch):
    monkeypatch.setattr(probe, "reset_peak", lambda: False)
    monkeypatch.setattr(probe, "peak_bytes", lambda: None)
    found = probe.measure(Allocating(first=1, each=1))
    assert found["memory_peak_bytes"] is None
    assert show.mebibytes(None, found["memory_is_exact"]) == "not measured"


# ------------------------------------------------------------------ showing


def ops_row(op, ms, theirs, flops=2_000_000, moved=1_000_000):
    return {
        "group": "conv 3x3",
        "op": op,
        "shape": "1x2x3x4",
        "flops": flops,
        "bytes": moved,
        "ms": ms,
        "gflops": flops / ms / 1e6 if flops else None,
        "gbs": moved / ms / 1e6,
        "percent_of_peak": 50.0,
        "timed_calls": 7,
        "torch_ms": theirs,
        "ratio": measure.ratio(ms, theirs),
    }


def ops_document(found):
    head = {"bench": "ops", "caution": show.CAUTION, "backend": "cpu", "rung": "im2col", "quick": False, "threads": 2}
    machine = {"minisegnet": "1", "python": "3", "numpy": "2", "numba": "0", "torch": "2", "processor": "Abacus"}
    machine |= {"cores": 4, "system": "Linux", "simd": "neon"}
    measured = {"peaks": {"gflops": 100.0, "gbs": 20.0}, "others_cores": 0.02}
    return head | measured | {"machine": machine, "rows": found, "summary": show.summarise(found)}


FOUND = [
    ops_row("a forward", 2.0, {"NCHW": 6.0, "channels_last": 3.0}),
    ops_row("b forward", 4.0, {"default": 3.0, "fused": 2.0}),
    ops_row("c forward", 4.0, {"default": 8.0}, flops=0),
]


def test_the_table_says_what_the_times_say():
    text = show.report(ops_document(FOUND)).splitlines()
    cells = {line.split()[0]: line.split() for line in text if line[1:9] == " forward"}
    assert cells["a"] == ["a", "forward", "1x2x3x4", "2.00", "1.00", "0.500", "50", "6.00", "3.00", "1.50"]
    assert cells["b"] == ["b", "forward", "1x2x3x4", "4.00", "0.500", "0.250", "50", "3.00", "2.00", "fused", "0.50"]
    assert cells["c"] == ["c", "forward", "1x2x3x4", "4.00", "0.250", "50", "8.00", "2.00"]
    (summary,) = [line.split() for line in text if line.startswith("conv 3x3")]
    assert summary == ["conv", "3x3", "b", "forward", "1x2x3x4", "3", f"{1.5 ** (1 / 3):.2f}", "0.50"]


def test_the_head_says_where_and_with_what():
    head = show.report(ops_document(FOUND)).split("\n\n")[0]
    for part in ("bench ops", "cpu, convolution im2col", "Abacus, 4 cores", "numpy 2", "torch 2", "threads: 2"):
        assert part in head
    assert "100 GFLOP/s (multiply-adds, micro-kernel for neon) and 20.0 GB/s (triad)" in head
    assert "only ratios" in head


def test_a_busy_machine_is_mentioned():
    document = ops_document(FOUND)
    assert "Careful" not in show.report(document)
    assert "Careful" not in show.report(document | {"others_cores": None})  # not known
    assert "other processes kept 1.3 cores busy" in show.report(document | {"others_cores": 1.3})


def test_others_are_everybody_but_this_process(monkeypatch, clock):
    busy, own = iter([100.0, 118.0]), iter([7.0, 15.0])
    monkeypatch.setattr(measure, "busy_seconds", lambda: next(busy))
    monkeypatch.setattr(measure, "own_seconds", lambda: next(own))
    others = measure.Others()
    clock.now += 5
    assert others.cores() == (18 - 8) / 5


def test_columns_are_aligned():
    text = show.table(("name", "figure"), [("a", "1"), ("bbbbb", "1234567")], left=1)
    assert text.splitlines() == ["name    figure", "-" * 14, "a            1", "bbbbb  1234567"]


def test_the_picture_names_each_op_that_computes(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(roofline, "list_rows", lambda axes, rows, colours: figures.append((axes.figure, rows)))
    roofline.draw(ops_document(FOUND), tmp_path / "roofline.svg")
    ((figure, drawn),) = figures
    assert [row["op"] for row in drawn] == ["a forward", "b forward"]  # c moves data only
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["100 GFLOP/s", "20.0 GB/s", "1", "2"]
    points = [line.get_xydata()[0].tolist() for line in figure.axes[0].lines[1:]]
    assert points == [[2.0, 1.0], [2.0, 0.5]]
    roof = figure.axes[0].lines[0].get_xydata()
    np.testing.assert_allclose(roof[:, 1], np.minimum(20 * roof[:, 0], 100))
    assert (tmp_path / "roofline.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_numbers_keep_off_each_other(tmp_path):
    """Forty points nearly on top of each other, and every number has a place of its own."""
    from matplotlib.figure import Figure

    figure = Figure(dpi=72)
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    points = [(0.5 + 0.003 * i, 0.5) for i in range(40)]
    roofline.number_points(figure, axes, points, ["k"] * 40, [(0, 1), (1, 1)])
    offsets = np.array([text.xyann for text in axes.texts])
    places = axes.transData.transform(points) + offsets
    distances = np.hypot(*(places[:, None] - places).T) + 99 * np.eye(40)
    assert distances.min() > 0.6 * roofline.LABEL


# ------------------------------------------------------------------ the command line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "required: WHAT"),
        (["nets"], "invalid choice: 'nets'"),
        (["ops", "--backend", "abacus"], "argument --backend: invalid choice: 'abacus'"),
        (["ops", "--rung", "top"], "argument --rung: invalid choice: 'top'"),
        (["step", "--threads", "0"], "argument --threads: must be at least 1, got 0"),
        (["step", "--plot", "x.png"], "unrecognized arguments: --plot"),
    ],
)
def test_wrong_arguments_are_explained(arguments, text, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", *arguments])
    assert stop.value.code == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["ops", "--threads", "99999"], "99999 threads on "),
        (["ops", "--only", "transformer"], "--only 'transformer' fits no row; there are:\n  conv 3x3 forward"),
        (["step", "--only", "transformer"], "there are:\n  unet U-Net"),
        (["ops", "--plot", "picture.doc"], "--plot picture.doc: the name must end in .png"),
        (["ops", "--json", "no/such/file"], "--json no/such/file: can't write into the folder no"),
        (["step", "--json", "."], "--json .: this is a folder"),
        (["step", "--rung", "loops"], "a training step with --rung loops would take hours"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_measured(arguments, text, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measure, "alternate", None)
    assert main(["bench", *arguments]) == 1
    assert text in capsys.readouterr().err


def test_stopping_it_is_no_crash(monkeypatch, capsys):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "bench_ops", stop)
    assert main(["bench", "ops", "--threads", "1"]) == 130
    assert capsys.readouterr().err == "minisegnet bench: stopped\n"


@pytest.mark.parametrize("kind", ["ops", "step"])
def test_help_is_enough(kind, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", kind, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    options = ["json", "backend", "rung", "threads", "quick", "only", *["plot"] * (kind == "ops")]
    assert all(f"--{name}" in text for name in options)


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from minisegnet.cli import main\n"
        "try:\n    main(['bench', 'ops', '--help'])\n"
        "except SystemExit:\n    print('loaded', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=command.Path(command.__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.split("loaded", 1)[1].split()
    assert "minisegnet.cli" in loaded
    assert not {"numba", "torch", "matplotlib", "tqdm", "minisegnet.bench"} & set(loaded)
