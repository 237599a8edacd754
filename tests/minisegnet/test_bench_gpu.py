"""`minisegnet bench --device cuda` as far as it can be tested without a GPU.

What it does with figures is tested with made-up ones, how it takes times with a made-up queue, and the way from the
command to the table in the simulator, in a process of its own: this file, run as a program (`simulated` below).
"""

import functools
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import kernels
import kernels.cuda.device
from kernels.cuda.memory import Pool
from minisegnet.bench import card, gpu, gpu_command, gpu_show, measure, rows, show, step
from minisegnet.cli import main

ROOT = Path(__file__).parents[2]
requires_torch = pytest.mark.skipif(measure.import_torch() is None, reason="PyTorch is not installed")
not_simulated = pytest.mark.skipif(gpu.SIMULATED, reason="the simulator counts as a GPU")

H200 = {"name": "Abacus 200", "compute_capability": "9.0", "multiprocessors": 132, "free": 2**30, "total": 2**31}
H200 |= {"driver": "13.0", "toolkit": "12.9", "clock_khz": 1_980_000, "memory_khz": 3_201_000, "bus_bits": 6144}


# ------------------------------------------------------------------ taking times


class Queue:
    """A queue whose work takes as long as a script says, and that notes what is asked of it."""

    def __init__(self, *milliseconds):
        self.now, self.work, self.log = 0.0, itertools.cycle(milliseconds), []

    def call(self):
        self.log.append("call")
        self.now += next(self.work)

    def mark(self):
        self.log.append("mark")
        return SimpleNamespace(at=self.now, elapsed_time=lambda end, at=self.now: end.at - at)

    def __getattr__(self, name):
        return lambda: self.log.append(name)


def test_times_are_those_between_events_in_a_queue_that_is_kept_busy():
    queue = Queue(9.0, 9.0, 1.0, 2.0, 4.0)
    assert gpu.turn(queue, queue.call, 3, warm_up=0.0) == [0.001, 0.002, 0.004]
    timed = ["call", "mark"] * 3
    assert queue.log == ["begin", "call", "wait", "call", "mark", *timed, "wait", "end"]


def test_a_turn_warms_up_for_a_while(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(gpu.time, "perf_counter", lambda: next(clock))
    queue = Queue(1.0)
    assert gpu.turn(queue, queue.call, 1, warm_up=3) == [0.001]
    assert queue.log[: 1 + 2 * 3] == ["begin", *["call", "wait"] * 3]


def test_contenders_with_clocks_of_their_own_take_turns_with_others():
    queue = Queue(2.0)
    turns = {"queue": functools.partial(gpu.turn, queue)}
    times = measure.alternate({"host": lambda: None, "queue": queue.call}, rounds=2, seconds=0.0, turns=turns)
    assert times["queue"] == [0.002] * 2
    assert len(times["host"]) == 2


def test_ratios_are_to_the_better_layout_and_apart_for_tf32():
    theirs = {"NCHW": 3.0, "channels_last": 4.0, "NCHW TF32": 2.0, "channels_last TF32": 1.0}
    assert gpu.ratios({"ms": 2.0, "torch_ms": theirs}) == {"ratio": 1.5, "ratio_tf32": 0.5}
    assert gpu.ratios({"ms": 2.0, "torch_ms": {}}) == {"ratio": None, "ratio_tf32": None}


@requires_torch
def test_tf32_is_off_unless_it_is_asked_for():
    torch = measure.import_torch()
    products = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = torch.backends.cudnn.benchmark, [backend.fp32_precision for backend in products]
    try:
        for tf32, precision in ((True, "tf32"), (False, "ieee")):
            gpu.TorchQueue(tf32).begin()
            assert [backend.fp32_precision for backend in products] == [precision] * 2
        assert torch.backends.cudnn.benchmark
    finally:
        torch.backends.cudnn.benchmark = before[0]
        for backend, precision in zip(products, before[1], strict=True):
            backend.fp32_precision = precision


def test_an_older_pytorch_has_other_switches_for_it():
    backends = SimpleNamespace(cudnn=SimpleNamespace(), cuda=SimpleNamespace(matmul=SimpleNamespace()))
    queue = gpu.TorchQueue(tf32=False)
    queue.torch = SimpleNamespace(backends=backends)
    queue.begin()
    assert backends.cudnn.allow_tf32 is backends.cuda.matmul.allow_tf32 is False


def test_memory_is_what_a_net_takes_beyond_what_was_there():
    class Counting(Queue):
        used = peaked = 100

        def in_use(self):
            return self.used

        def reset_peak(self):
            self.peaked = self.used

        def peak(self):
            return self.peaked

    queue, needed = Counting(), itertools.chain([5000, 5000], itertools.repeat(70))  # while algorithms are tried: more

    def make():
        queue.used += 30

        def run():
            queue.peaked = max(queue.peaked, queue.used + next(needed))
            return 0.5

        return run

    assert gpu.build(make, queue)[1:] == ((0.5, 0.5), 100)


def test_the_pool_knows_its_peak():
    pool = Pool(bytearray)
    blocks = [pool.take(size) for size in (512, 1024)]
    pool.give_back(512, blocks[0])
    assert (pool.in_use, pool.peak) == (1024, 1536)
    pool.peak = pool.in_use
    pool.take(512)
    pool.give_back(512, blocks[0])
    assert (pool.in_use, pool.peak) == (1024, 1536)


# ------------------------------------------------------------------ the card


@pytest.mark.parametrize(
    ("capability", "multiprocessors", "clock", "memory", "bus", "gflops", "gbs"),
    [
        ("8.0", 108, 1410, 1215, 5120, 19491.84, 1555.2),  # A100 40 GB, as on its data sheet
        ("7.5", 40, 1590, 5001, 256, 8140.8, 320.064),  # T4
        ("8.9", 128, 2520, 10501, 384, 82575.36, 1008.096),  # RTX 4090
        ("99.0", 10, 1000, 1000, 256, None, 64.0),  # not yet made
    ],
)
def test_peaks_are_those_of_the_data_sheet(capability, multiprocessors, clock, memory, bus, gflops, gbs):
    found = {"compute_capability": capability, "multiprocessors": multiprocessors, "bus_bits": bus}
    found |= {"clock_khz": 1000 * clock, "memory_khz": 1000 * memory}
    assert card.peaks(found) == {"gflops": gflops, "gbs": gbs}


@not_simulated
def test_what_the_driver_does_not_tell_is_unknown(monkeypatch):
    class Gpu:
        CLOCK_RATE, MEMORY_CLOCK_RATE = 1_980_000, 0

        @property
        def GLOBAL_MEMORY_BUS_WIDTH(self):
            raise card.cuda.cudadrv.driver.CudaAPIError(1, "invalid value")

    monkeypatch.setattr(card.cuda, "get_current_device", Gpu)
    tells = [H200[name] for name in kernels.cuda.device.Device._fields]
    monkeypatch.setattr(card, "device", lambda: kernels.cuda.device.Device(*tells))
    assert card.card() == H200 | {"memory_khz": None, "bus_bits": None}
    assert card.peaks(card.card()) == {"gflops": 66908.16, "gbs": None}


# ------------------------------------------------------------------ showing


def document(kind, found, **changes):
    machine = {"minisegnet": "1", "python": "3", "numpy": "2", "numba": "0", "torch": "2", "processor": "Abacus"}
    machine |= {"cores": 4, "system": "Linux"}
    head = {"bench": kind, "device": "cuda", "caution": show.CAUTION, "quick": False, "simulated": False, "threads": 2}
    head |= {"machine": machine, "card": H200, "peaks": card.peaks(H200), "torch_on_gpu": True, "cudnn": 91002}
    return head | {"rows": found, "failed": [], "summary": show.summarise(found) if kind == "ops" else None} | changes


OP = {"group": "conv 3x3", "op": "a forward", "shape": "1x2", "flops": 4e9, "bytes": 2e9, "ms": 1.0, "gflops": 4000.0}
OP |= {"gbs": 2000.0, "percent_of_flops": 25.0, "percent_of_bandwidth": 41.0, "ratio": 1.5, "ratio_tf32": 0.25}
OP |= {"torch_ms": {"NCHW": 2.0, "channels_last": 1.5, "NCHW TF32": 0.5, "channels_last TF32": 0.25}}
COPY = OP | {"op": "b forward", "flops": 0, "gflops": None, "percent_of_flops": None, "ratio": 0.8, "ratio_tf32": None}
COPY |= {"torch_ms": {"default": 4.0, "fused": 3.0}}
STEP = {"model": "Net", "input": [16, 3, 256, 256], "ms": 200.0, "gflops": 30000.0, "percent_of_flops": 45.0}
STEP |= {"torch_ms": {"NCHW": 180.0, "channels_last": 210.0, "NCHW TF32": 90.0}, "ratio": 0.9, "cpu_ms": 24000.0}
STEP |= {"ratio_cpu": 120.0, "memory_peak_bytes": 2**33, "torch_memory_peak_bytes": {"NCHW": 2**34, "x": 2**33}}


def cells(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return line.split()


def test_the_table_of_ops():
    text = gpu_show.report(document("ops", [OP, COPY]))
    numbers = ["1.00", "4,000", "25", "2,000", "41"]
    assert cells(text, "a forward") == ["a", "forward", "1x2", *numbers, "2.00", "1.50", "1.50", "0.250"]
    assert cells(text, "b forward")[3:] == ["1.00", "2,000", "41", "4.00", "3.00", "fused", "0.80"]
    assert "Abacus 200, compute capability 9.0, 132 multiprocessors, 2.0 GiB, driver for CUDA 13.0" in text
    assert "at best 66,908 GFLOP/s (cores x clock) and 4,917 GB/s" in text
    assert "torch 2, cuDNN 91002" in text
    last = text.splitlines()[-1]
    assert last == "in short: 2 ops measured, 0.80 to 1.50 times PyTorch's speed, at most 25% of the card's peak"


def test_the_table_of_steps():
    text = gpu_show.report(document("step", [STEP]))
    expected = ["Net", "16x3x256x256", "200", "30,000", "45", "180", "210", "0.90", "90.0", "24,000", "120"]
    assert cells(text, "Net") == [*expected, "8,192", "MiB", "8,192", "MiB"]
    facts = "Net 200 ms a step, 0.90 times PyTorch's speed, 120 times our CPU's, 45% of the card's peak"
    assert text.splitlines()[-1] == f"in short: {facts}"


def test_what_is_not_known_or_not_measured():
    bare = {"torch_ms": {}, "ratio": None, "ratio_tf32": None}
    unknown = {"peaks": {"gflops": None, "gbs": None}, "torch_on_gpu": False}
    op = OP | bare | {"percent_of_flops": None, "percent_of_bandwidth": None}
    text = gpu_show.report(document("ops", [op], **unknown))
    assert cells(text, "a forward")[3:] == ["1.00", "4,000", "unknown", "2,000", "unknown"]
    assert "at best unknown GFLOP/s" in text
    assert "PyTorch 2 sees no GPU, so nothing is compared with it" in text
    assert text.splitlines()[-1] == "in short: 1 ops measured"
    row = STEP | bare | {"cpu_ms": None, "ratio_cpu": None, "memory_peak_bytes": None, "torch_memory_peak_bytes": {}}
    text = gpu_show.report(document("step", [row], failed=["Big: the GPU has no room"], **unknown))
    assert cells(text, "Net")[2:] == ["200", "30,000", "45", "not", "measured"]
    assert "failed: Big: the GPU has no room" in text
    assert text.splitlines()[-1] == "in short: Net 200 ms a step, 45% of the card's peak, 1 failed"


# ------------------------------------------------------------------ the command


@pytest.fixture
def a_gpu(monkeypatch):
    """As if there were one, as long as nothing is computed on it."""
    monkeypatch.setattr(kernels.cuda.device, "missing", lambda: None)
    monkeypatch.setattr(gpu_command, "card", lambda: H200)
    monkeypatch.setattr(gpu_command, "SIMULATED", False)


@pytest.mark.parametrize("kind", ["ops", "step"])
def test_without_a_gpu_it_says_what_is_missing(kind, monkeypatch, capsys):
    monkeypatch.setattr(kernels.cuda.device, "missing", lambda: "the NVIDIA driver sees no GPU")
    assert main(["bench", kind, "--device", "cuda"]) == 1
    told = "minisegnet bench: device 'cuda' can't be used: the NVIDIA driver sees no GPU; device 'cpu' works everywhere"
    assert capsys.readouterr().err == f"{told}\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["step", "--rung", "windows"], "--backend and --rung choose what computes on the CPU"),
        (["ops", "--backend", "reference"], "leave them out with --device cuda"),
        (["ops", "--only", "transformer"], "fits no row; there are:\n  conv 3x3 forward 16x3x256x256 to 64\n"),
        (["step", "--only", "transformer"], "fits no row; there are:\n  unet-64 U-Net 64\n  unet U-Net 16\n"),
        (["step", "--only", "transformer", "--quick"], "fits no row; there are:\n  unet U-Net 16\n"),
        (["ops", "--only", "transformer", "--quick"], "there are:\n  conv 3x3 forward 4x16x176x240 to 16\n"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_measured(arguments, text, a_gpu, capsys, monkeypatch):
    monkeypatch.setattr(gpu, "race", None)
    assert main(["bench", *arguments, "--device", "cuda", "--threads", "1"]) == 1
    assert text in capsys.readouterr().err


def test_a_picture_needs_the_peaks(a_gpu, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_command, "card", lambda: H200 | {"bus_bits": None})
    assert main(["bench", "ops", "--device", "cuda", "--threads", "1", "--plot", str(tmp_path / "x.png")]) == 1
    assert "--plot draws what the card can do at best, and its driver does not tell that" in capsys.readouterr().err


def test_a_row_that_fails_costs_no_other(a_gpu, capsys, monkeypatch, tmp_path):
    def measured(row, timing):
        if "backward" in row.name:
            raise MemoryError("the GPU has no room")
        return dict(OP, op=row.op, shape=row.shape, flops=row.flops)

    monkeypatch.setattr(gpu, "measure_op", measured)
    files = ["--json", str(tmp_path / "x.json"), "--plot", str(tmp_path / "x.svg")]
    assert main(["bench", "ops", "--device", "cuda", "--only", "relu", "--threads", "1", *files]) == 1
    text, found = capsys.readouterr().out, json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert found["failed"] == ["ReLU backward 16x64x256x256: the GPU has no room"]
    assert "failed: ReLU backward 16x64x256x256: the GPU has no room" in text
    (row,) = found["rows"]
    assert row["percent_of_flops"] == pytest.approx(100 * 4000 / 66908.16)
    assert row["percent_of_bandwidth"] == pytest.approx(100 * 2000 / 4916.736)
    assert "Abacus 200" in (tmp_path / "x.svg").read_text(encoding="utf-8")
    monkeypatch.setattr(gpu, "measure_op", lambda row, timing: 1 / 0 if row.flops < 0 else measured(row, timing))
    assert main(["bench", "ops", "--device", "cuda", "--only", "relu backward", "--threads", "1"]) == 1
    assert "nothing could be measured\nReLU backward" in capsys.readouterr().err


def test_steps_are_compared_with_our_cpu(a_gpu, capsys, monkeypatch):
    def probe(key, contender, backend, rung, threads):
        if key == "simple":
            raise RuntimeError("measuring SimpleCNN (ours) ended with code -9: it said nothing")
        return {"step_seconds": 24.0}

    monkeypatch.setattr(step, "probe", probe)
    monkeypatch.setattr(gpu, "measure_step", lambda model, timing: dict(STEP, model=model.name))
    options = ["bench", "step", "--device", "cuda", "--threads", "1", "--json"]
    assert main(options) == 1
    found = json.loads(capsys.readouterr().out)
    ratios = {row["model"]: row["ratio_cpu"] for row in found["rows"]}
    assert ratios == {"U-Net 64": 120.0, "U-Net 16": 120.0, "U-Net 16, no BatchNorm": 120.0, "SimpleCNN": None}
    assert found["failed"] == ["measuring SimpleCNN (ours) ended with code -9: it said nothing"]
    assert main([*options, "--no-cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["cpu_ms"] for row in found["rows"]] == [None] * 4


# ------------------------------------------------------------------ in the simulator


class HostQueue(gpu.TorchQueue):
    """PyTorch's part taken by its CPU build."""

    device = "cpu"

    def mark(self):
        return Mark()

    def wait(self):
        pass

    def end(self):
        pass

    def in_use(self):
        return 1000

    def reset_peak(self):
        pass

    def peak(self):
        return 1500


class Mark:
    def __init__(self):
        self.at = time.perf_counter()

    def elapsed_time(self, end):
        return 1e3 * (end.at - self.at)


def simulated():
    """What the test below looks at; the simulator works only in a process that was started for it."""
    once = {"rounds": 1, "seconds": 0.0}
    if measure.import_torch():
        gpu.torch_on_gpu, gpu.TorchQueue = lambda: True, HostQueue
    small = [*rows.batch_norm((1, 2, 2, 3))][1:] + [*rows.conv("conv 3x3", (1, 2, 2, 3), 1, 3)][:1]  # the slow ones
    small += [*rows.max_pool((1, 1, 4, 4)), *rows.cross_entropy((1, 11, 1, 2)), *rows.concat((1, 2, 2, 3))]
    small += rows.updates(2, 3)
    found = {"ops": [gpu.measure_op(row, once) for row in small]}
    found["step"] = gpu.measure_step(step.TINY["conv"], once)
    x, results = kernels.to_device(np.ones(3, np.float32)), []
    call = lambda: results.append(kernels.ops_for(x).relu_forward(x))  # noqa: E731
    found["times"], found["calls"] = len(gpu.turn(gpu.OurQueue(), call, 3, 0.0)), len(results)
    print(json.dumps(found), flush=True)
    gpu.torch_on_gpu = lambda: False
    sys.exit(main(["bench", "ops", "--device", "cuda", "--only", "relu", "--threads", "1"]))


@pytest.fixture(scope="module")
def found():
    pytest.importorskip("numba_cuda", reason="the simulator that is used here comes with numba-cuda")
    done = subprocess.run(
        [sys.executable, __file__],
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, _, report = done.stdout.partition("\n")
    return json.loads(first) | {"report": report}


def test_ops_are_measured(found):
    """Where PyTorch is installed, each result has been compared with its one, or there would be no time."""
    assert [row["op"] for row in found["ops"]][:3] == ["batch norm backward", "conv 3x3 forward", "max pool 2 forward"]
    assert [row["op"] for row in found["ops"]][-2:] == ["update SGD", "update Adam"]
    for row in found["ops"]:
        assert row["ms"] > 0
        if measure.import_torch():
            plain = {"default", "fused"} if "update" in row["op"] else {"NCHW", "channels_last"}
            tf32 = {f"{name} TF32" for name in plain if row["group"] == "conv 3x3"}
            assert set(row["torch_ms"]) == plain | tf32
            assert row["ratio"] == pytest.approx(min(row["torch_ms"][name] for name in plain) / row["ms"])
    maps, channels = 3 * 12, 5 * 2  # dy, x, dx; weight, mean, var, dweight, dbias: statistics are float32 there
    assert found["ops"][0]["bytes"] == 4 * (maps + channels)


def test_a_step_is_measured(found):
    row = found["step"]
    assert row["ms"] > 0
    assert row["memory_peak_bytes"] is None  # the simulator counts none
    if measure.import_torch():
        assert set(row["torch_ms"]) == {"NCHW", "channels_last", "NCHW TF32", "channels_last TF32"}
        assert row["torch_memory_peak_bytes"] == {"NCHW": 500, "channels_last": 500}


def test_events_are_put_into_our_queue(found):
    assert (found["times"], found["calls"]) == (3, 5)  # one to warm up, one ahead


def test_the_simulators_report(found):
    assert "the simulator: kernels run as Python threads" in found["report"]
    assert cells(found["report"], "ReLU backward")[2] == "1x1x8x8"
    assert found["report"].splitlines()[-1] == "in short: 2 ops measured"


# ------------------------------------------------------------------ the one command for a machine with a GPU

STUB = """#!/usr/bin/env bash
case "$(basename "$0") $*" in
*"$FAIL"*) echo "out of luck"; echo; exit 3 ;;
*"-m venv"*)
    mkdir -p "$3/bin"
    echo "PATH='$3/bin':\\$PATH" >"$3/bin/activate"
    for name in python pip minisegnet compute-sanitizer; do cp "$0" "$3/bin/$name"; done ;;
*info*) echo "gpu     Abacus 200" ;;
*" bench "*) echo "in short: $2 measured" ;;
*" -m pytest "*) echo "12 passed in 3.00s" ;;
esac
"""


@pytest.mark.skipif(os.name == "nt" or not shutil.which("bash"), reason="it is a script for bash")
@pytest.mark.parametrize(
    ("fail", "count"),
    [("nothing", 8), ("racecheck", 8), ("bench step", 8), ("check_device_name", 2), ("pip install", 1)],
)
def test_the_table_tells_what_failed(fail, count, tmp_path):
    stub = tmp_path / "python"
    stub.write_text(STUB, encoding="utf-8")
    stub.chmod(0o755)
    done = subprocess.run(
        ["bash", str(ROOT / ".ci" / "gpu")],
        env=os.environ | {"PYTHON": str(stub), "FAIL": fail, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    table = done.stdout.partition("=== all in one table")[2].splitlines()[1:]
    stages = ["environment", "gpu", "tests", "memcheck", "racecheck", "synccheck", "bench ops", "bench step"]
    assert [line[19:47].strip() for line in table] == stages[:count]
    failed = [line for line in table if line.startswith("FAILED")]
    assert done.returncode == len(failed) == (fail != "nothing")
    assert all(line.endswith("out of luck") for line in failed)
    if fail == "nothing":
        assert table[2].endswith("12 passed in 3.00s")
        assert table[-1].endswith("in short: step measured")


if __name__ == "__main__":
    simulated()
