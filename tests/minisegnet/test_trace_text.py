"""Traces and explanations as text, and as files."""

import numpy as np
import pytest
from layer_cases import CASES
from test_trace import NETS, model

from minisegnet import checkpoint, losses, trace
from minisegnet.layers import BatchNorm2d, Conv2d, Linear, MaxPool2d, ReLU, Sequential, Sum, Tanh


def conv_trace():
    net = Conv2d(1, 1, 2, bias=False, dtype=np.float64)
    net.weight.value[:] = [[1, 2], [3, 4]]
    return trace.record(Sequential(conv=net), np.arange(9.0).reshape(1, 1, 3, 3), dy=np.arange(4.0).reshape(1, 1, 2, 2))


def lines(explanation):
    return [line.rstrip() for line in str(explanation).splitlines()]


# ------------------------------------------------------------------ text


def test_an_explanation_reads_from_the_formula_to_the_sum():
    assert lines(conv_trace().explain("conv", (0, 0, 1, 1), "dx")) == [
        "conv, Conv2d(1, 1, kernel_size=2, bias=False): dx[0,0,1,1]",
        "",
        "  dx[n,c,a,b] = Σ_{o,r,s} dy[n,o,i,j] * weight[o,c,r,s], i*stride + r*dilation = a + padding, and so j",
        "  dx[0,0,1,1] = Σ_{o,r,s} dy[0,o,1-r,1-s] * weight[o,0,r,s]",
        "  = 0 * 4 + 1 * 3 + 2 * 2 + 3 * 1 = 10",
        "",
        "    dy             weight         product  sum",
        "    [0,0,0,0]  +0  [0,0,1,1]  +4  +0       0",
        "    [0,0,0,1]  +1  [0,0,1,0]  +3  +3       3",
        "    [0,0,1,0]  +2  [0,0,0,1]  +2  +4       7",
        "    [0,0,1,1]  +3  [0,0,0,0]  +1  +3       10",
        "",
        "sum of 4 terms: 10",
        "recorded: 10, the same up to rounding",
    ]


def test_long_tables_are_cut_in_the_middle_and_can_be_sorted():
    net = Linear(100, 1, bias=False, dtype=np.float64)
    net.weight.value[:] = 1
    t = trace.record(Sequential(fc=net), np.arange(1.0, 101).reshape(1, 100), dy=np.ones((1, 1)))
    found = t.explain("fc", (0, 0))
    text = found.text(limit=4)
    assert "1 * 1 + 2 * 1 + 3 * 1 + ... (97 more) = 5050" in text
    table = text[text.index("product") :].splitlines()[1:6]
    assert [line.split()[-1] for line in table] == ["1", "3", "...", "4950", "5050"]
    assert "96 more: +4848" in table[2]
    largest = found.text(limit=4, by="size")
    table = largest[largest.index("product") :].splitlines()[1:6]
    assert [line.split()[-1] for line in table] == ["100", "199", "...", "5049", "5050"]
    assert len(found.text(limit=100).splitlines()) == len(text.splitlines()) + 95
    with pytest.raises(ValueError, match='by must be "position" or "size", got \'name\''):
        found.text(by="name")


def test_groups_notes_and_facts_are_shown():
    x = np.random.default_rng(0).standard_normal((2, 1, 2, 2))
    t = trace.record(Sequential(norm=BatchNorm2d(1, dtype=np.float64)), x, dy=x**2)
    text = str(t.explain("norm", (0, 0, 0, 0), "dx"))
    for part in ("by the value:", "by the mean:", "by the variance:", "(three ways lead from this x", "m = 8"):
        assert part in text
    assert text.splitlines()[-4].split()[-1] == f"{t['norm'].dx[0, 0, 0, 0]:.6g}"  # the sum so far goes on over groups
    text = str(trace.record(Sequential(pool=MaxPool2d(2)), x, dy=np.ones((2, 1, 1, 1))).explain("pool", (0, 0, 0, 0)))
    assert "the window:\n  x\n  [0,0,0,0]" in text
    assert "switch = " in text


def test_the_table_of_a_trace():
    net = Sequential(conv=Conv2d(1, 2, 1, rng=0), level=Sum(ReLU(), Tanh()))
    t = trace.record(net, np.ones((1, 1, 2, 2), np.float32), losses.CrossEntropyLoss(), np.zeros((1, 2, 2), int))
    head, rule, *rows = str(t).splitlines()
    assert head.split() == ["stop", "y", "|y|", "dx", "|dx|"]
    assert set(rule) == {"-"}
    assert [row.split()[:2] for row in rows[:6]] == [
        ["1", "conv"],
        ["2", "level"],
        ["3", "level.0"],
        ["4", "level.1"],
        ["5", "level"],
        ["L", "loss"],
    ]
    size = f"{np.linalg.norm(t['conv'].y):.4g}"
    assert f"Conv2d            1x2x2x2       {size}" in rows[0]
    assert "2 of 1x2x2x2" in rows[1]
    assert rows[-1] == "forward: F1 to F5, the loss, backward: B5 to B1"


# ------------------------------------------------------------------ files


def assert_same_trace(one, other):
    assert one.tree == other.tree
    assert one.names == other.names
    for a, b in zip((*one.stops, *one.losses), (*other.stops, *other.losses), strict=True):
        assert (a.kind, a.label, a.config, a.saved) == (b.kind, b.label, b.config, b.saved)
        assert (a.params, a.buffers, a.branches, list(a.arrays)) == (b.params, b.buffers, b.branches, list(b.arrays))
        for name, array in a.arrays.items():
            assert (array.dtype, array.shape) == (b.arrays[name].dtype, b.arrays[name].shape)
            np.testing.assert_array_equal(array, b.arrays[name])


@pytest.mark.parametrize("name", NETS)
def test_a_saved_trace_explains_as_before_without_the_net(name, tmp_path):
    net, x, target = model(name, np.float32)
    t = trace.record(net, x, losses.CrossEntropyLoss([1, 2, 3, 0.5], label_smoothing=0.1), target)
    t.save(tmp_path / "pass.safetensors")
    loaded = trace.load(tmp_path / "pass.safetensors")
    assert_same_trace(t, loaded)
    for stop in t.stops:
        index = tuple(size // 2 for size in next(iter(stop.arrays.values())).shape)
        of = next(n for n in stop.arrays if n.partition(".")[0] == "dx")
        if len(index) == stop[of].ndim and all(i < s for i, s in zip(index, stop[of].shape, strict=True)):
            assert str(loaded.explain(stop.name, index, of)) == str(t.explain(stop.name, index, of))
    assert str(loaded) == str(t)
    assert str(loaded.explain("loss", (), "value")) == str(t.explain("loss", (), "value"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_kind_of_layer_is_saved(case, tmp_path):
    layer, x = case.layer(np.float32), case.x(np.float32)
    t = trace.record(layer, x, dy=np.ones(case.layer(np.float32)(x).shape, np.float32))
    t.save(tmp_path / "t")
    assert_same_trace(t, trace.load(tmp_path / "t"))


def test_an_array_that_stops_share_is_stored_once(tmp_path):
    x = np.ones((1, 1, 100, 100), np.float32)
    trace.record(Sequential(*(ReLU() for _ in range(9))), x, dy=x).save(tmp_path / "t")
    assert (tmp_path / "t").stat().st_size < 21 * x.nbytes  # x and y and dy and dx of nine layers: 20 arrays, not 45


def test_files_that_are_no_trace(tmp_path):
    path = tmp_path / "t.safetensors"
    with pytest.raises(FileNotFoundError, match=r"there is no trace .*t\.safetensors; write one with trace\.save"):
        trace.load(path)
    checkpoint.save(path, Linear(1, 1))
    with pytest.raises(trace.TraceError, match=r"t\.safetensors is a safetensors file, but not one with a 'trace 1'"):
        trace.load(path)
    conv_trace().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(trace.TraceError, match=r"t\.safetensors is damaged or was cut short"):
        trace.load(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(trace.TraceError, match="is damaged: its checksum is wrong"):
        trace.load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path):
    with pytest.raises(OSError, match="there is no folder"):
        conv_trace().save(tmp_path / "missing" / "t")
    assert list(tmp_path.iterdir()) == []
