"""Compiling: when it happens, what is kept on disk and what becomes of trouble with it, and what is said."""

import ast
import gc
import hashlib
import shutil
import sys
import types
from pathlib import Path

import children
import pytest

from kernels import cpu
from kernels.cpu import cache, jit

PACKAGE = Path(cpu.__file__).parent

KERNELS = ["activation.relu", "activation.relu_gradient", "jit.part_of"]  # two small ones, and what they call

# Runs the two kernels, checks what they compute, and prints how many of all three were compiled.
RELU = """
import numpy as np
from numba.core import event
with event.install_recorder("numba:compile") as recorder:
    import kernels.cpu
    assert not recorder.buffer
    x = np.array([[-1, 2, np.nan]], np.float32)
    y = kernels.ops_for(x).relu_forward(x)
    dx = kernels.ops_for(x).relu_backward(np.ones_like(x), y)
np.testing.assert_array_equal(y, [[0, 2, np.nan]])
np.testing.assert_array_equal(dx, [[0, 1, 1]])
started = [event.data["dispatcher"].py_func.__module__ for _, event in recorder.buffer if event.is_start]
print(sum(module.startswith("kernels.cpu.") for module in started))
"""


def compiled(folder, **options):
    """How many kernels a process compiles whose cache is `folder`, and what it says on stderr."""
    out, error = children.run(RELU, NUMBA_CACHE_DIR=folder, **options)
    return int(out), error


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache that holds all three."""
    folder = tmp_path_factory.mktemp("filled")
    count, error = compiled(folder)
    assert count == 3
    assert "Warning" not in error
    return folder


@pytest.fixture
def full(filled, tmp_path):
    """A copy of it, to spoil."""
    return shutil.copytree(filled, tmp_path / "cache")


# ------------------------------------------------------------------ kept on disk


def test_the_second_process_compiles_nothing_and_says_nothing(full):
    names = [path.name.split(".cpython")[0] for path in files(full)]
    assert names == KERNELS
    assert compiled(full) == (0, "")


def test_importing_looks_for_no_folder(tmp_path):
    children.run("import kernels.cpu", NUMBA_CACHE_DIR=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def append(path, text):
    path.write_text(path.read_text("utf-8") + text, "utf-8")


def test_an_edit_in_another_file_of_the_package_is_noticed(tmp_path):
    root, folder = tmp_path / "root", tmp_path / "cache"
    shutil.copytree(PACKAGE.parent, root / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    assert compiled(folder, root=root)[0] == 3
    count = len(files(folder))
    append(root / "kernels" / "table.py", "# nothing compiled here\n")
    assert compiled(folder, root=root)[0] == 0
    append(root / "kernels" / "cpu" / "micro.py", "# edited\n")
    assert compiled(folder, root=root)[0] == 3
    assert len(files(folder)) == count, "what the edit made useless is still there"


def test_compiled_code_uses_nothing_from_files_that_the_stamp_does_not_cover():
    """Else an edit there would go unnoticed: what a module imports from above its package, its kernels don't use."""
    checked = 0
    for path in PACKAGE.glob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level > 1]
        above = {alias.asname or alias.name for node in imports for alias in node.names}
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and read(node.decorator_list) & {"jit", "parallel", "overload"}:
                own = {a.arg for a in ast.walk(node) if isinstance(a, ast.arg)}
                assert not above & read([node]) - own, f"{path.name}: {node.name}"
                checked += 1
    assert checked > 30


def read(nodes):
    """The variables whose values are used anywhere in these parts of a program, but not set there."""
    found = [name for node in nodes for name in ast.walk(node) if isinstance(name, ast.Name)]
    return {name.id for name in found} - {name.id for name in found if isinstance(name.ctx, ast.Store)}


def test_code_for_another_vector_unit_is_kept_beside(full):
    assert compiled(full, MINISEGNET_SIMD="scalar")[0] == 3
    assert len(files(full)) == 6
    assert compiled(full)[0] == 0
    assert compiled(full, MINISEGNET_SIMD="scalar")[0] == 0


def test_processes_that_start_at_once_do_not_disturb_each_other(tmp_path):
    together = [children.start(RELU, NUMBA_CACHE_DIR=tmp_path) for _ in range(2)]
    for process in together:
        assert "Warning" not in children.finish(process)[1]
    assert len(files(tmp_path)) == 3
    assert compiled(tmp_path) == (0, "")


# ------------------------------------------------------------------ trouble with files


def flip(content):
    return content[:-9] + bytes([content[-9] ^ 4]) + content[-8:]


DAMAGE = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "a bit flipped": flip,
    "something else": lambda content: b"hello",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_replaced_with_one_warning(full, damage):
    for path in files(full):
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    count, error = compiled(full)
    assert count == 3
    first = files(full)[0]
    assert error.count("RuntimeWarning") == 1
    assert f"RuntimeWarning: {first} is damaged; this kernel is compiled anew and the file replaced; if this" in error
    assert "set the environment variable NUMBA_CACHE_DIR to another folder" in error
    assert len(files(full)) == 3
    for path in files(full):
        assert path.read_bytes()[32:64] == cache.STAMP
        assert hashlib.sha256(path.read_bytes()[32:]).digest() == path.read_bytes()[:32]


def test_a_file_that_can_not_be_unpickled_is_replaced_with_a_warning(full):
    """Its checksum is right, but something that it needs is gone."""
    for path in files(full):
        content = cache.STAMP + b"cnumba.no_such_module\nthing\n."
        path.write_bytes(hashlib.sha256(content).digest() + content)
    count, error = compiled(full)
    assert count == 3
    assert error.count("RuntimeWarning") == 1
    assert "(ModuleNotFoundError: No module named 'numba.no_such_module')" in error
    assert compiled(full) == (0, "")


def test_a_file_of_another_version_is_replaced_silently(full):
    for path in files(full):
        content = bytes(32) + path.read_bytes()[64:]
        path.write_bytes(hashlib.sha256(content).digest() + content)
    assert compiled(full)[0] == 3
    assert compiled(full) == (0, "")


def test_a_file_for_another_key_is_not_taken(full):
    """Two names that happen to be equal: what is inside decides."""
    one, other, _ = files(full)
    shutil.copy(other, one)
    count, error = compiled(full)
    assert count == 1
    assert "Warning" not in error


@pytest.mark.skipif(sys.platform == "win32", reason="the user's own folder is found in another way there")
def test_without_a_folder_it_runs_uncached_with_one_warning(tmp_path):
    root, blocked = tmp_path / "root", tmp_path / "blocked"
    shutil.copytree(PACKAGE.parent, root / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "kernels" / "cpu" / "__pycache__").write_text("a file where a folder should be, even root can't write into")
    blocked.write_text("and another")
    everywhere = {"HOME": blocked, "XDG_CACHE_HOME": blocked}
    count, error = compiled(blocked / "inside", root=root, **everywhere)
    assert count == 3
    assert error.count("RuntimeWarning") == 1
    assert f"RuntimeWarning: compiled kernels can't be kept in {blocked / 'inside'} (RuntimeError: " in error
    assert "computing goes on, but every process compiles again" in error
    assert "set the environment variable NUMBA_CACHE_DIR to another folder, one that can be written" in error
    count, error = compiled(None, root=root, **everywhere)
    assert count == 3
    assert f"can't be kept in {root / 'kernels' / 'cpu' / '__pycache__'} (RuntimeError: " in error
    assert compiled(tmp_path / "new", root=root, **everywhere)[0] == 3
    assert compiled(tmp_path / "new", root=root, **everywhere) == (0, "")


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    pytest.importorskip("resource")
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
    out, error = children.run(limit + RELU, NUMBA_CACHE_DIR=tmp_path)
    assert out == "3"
    assert error.count("RuntimeWarning") == 1
    assert f"compiled kernels can't be kept in {tmp_path}" in error
    assert "(OSError: " in error
    assert not files(tmp_path)


# ------------------------------------------------------------------ what is said about it

# A clock on which each look takes some time; and a function of the user's own, which is none of our business.
CLOCK = """
import itertools, sys, types
import numba
import kernels.cpu.jit as jit
jit.time = types.SimpleNamespace(perf_counter=itertools.count(0, float(sys.argv[1])).__next__)
numba.njit(lambda x: x)(1)
sys.stderr.write("own;")
"""


def test_long_compiling_is_announced_once(tmp_path):
    child = CLOCK + RELU.replace("assert not recorder.buffer", "")
    assert children.run(child, 0.7, NUMBA_CACHE_DIR=tmp_path) == ("3", f"own;{jit.Compiling.TEXT}\n")
    assert jit.Compiling.TEXT.startswith("minisegnet: compiling the kernels that are needed here for the first time: ")
    assert children.run(child, 0.7, NUMBA_CACHE_DIR=tmp_path) == ("0", "own;")


def test_short_compiling_is_not_announced(tmp_path):
    assert children.run(CLOCK + RELU, 1e-6, NUMBA_CACHE_DIR=tmp_path) == ("3", "own;")


@pytest.mark.parametrize("stderr", ["None", "open(os.devnull)", "closed"])
def test_compiling_needs_no_console(tmp_path, stderr):
    """Without a console sys.stderr is None; it may also be closed, or a pipe that nobody reads."""
    spoil = "import os\nclosed = open(os.devnull, 'w')\nclosed.close()\n"
    out, _ = children.run(f"{CLOCK}{spoil}sys.stderr = {stderr}\n{RELU}", 0.7, NUMBA_CACHE_DIR=tmp_path)
    assert out == "3"


class Stream:
    """A stderr that can't be written to, in a way that nobody expects."""

    def write(self, text):
        raise RuntimeError("no")


def event_of(function):
    """What Numba tells a listener when it compiles a function."""
    return types.SimpleNamespace(data={"dispatcher": types.SimpleNamespace(py_func=function)})


@pytest.fixture
def compiling(monkeypatch):
    seconds = iter(range(0, 1000, 2))
    monkeypatch.setattr(jit, "time", types.SimpleNamespace(perf_counter=seconds.__next__))
    collecting = gc.isenabled()
    yield jit.Compiling()
    (gc.enable if collecting else gc.disable)()


@pytest.mark.parametrize("collecting", [True, False])
def test_cycles_are_collected_again_after_compiling(compiling, collecting, capsys):
    (gc.enable if collecting else gc.disable)()
    mine = event_of(jit.part_of.py_func)
    compiling.on_start(event_of(ast.walk))
    assert gc.isenabled() is collecting  # a function of somebody else's
    for _ in range(2):
        compiling.on_start(mine)
        compiling.on_start(mine)
        compiling.on_end(mine)
        assert not gc.isenabled()
        compiling.on_end(mine)
        assert gc.isenabled() is collecting
    assert capsys.readouterr().err == jit.Compiling.TEXT + "\n"


def test_they_are_even_if_the_announcement_fails(compiling, monkeypatch):
    gc.enable()
    compiling.before, compiling.said = 0.0, True
    compiling.on_start(event_of(jit.part_of.py_func))
    compiling.said = False
    monkeypatch.setattr(sys, "stderr", Stream())
    with pytest.raises(RuntimeError, match="no"):
        compiling.on_end(event_of(jit.part_of.py_func))
    assert gc.isenabled()
    assert compiling.depth == 0


def test_and_in_a_process_that_was_forked_meanwhile(compiling):
    gc.enable()
    compiling.on_start(event_of(jit.part_of.py_func))
    compiling.after_fork()
    assert gc.isenabled()
    compiling.on_end(event_of(jit.part_of.py_func))
    assert gc.isenabled()
    compiling.after_fork()
    assert gc.isenabled()
