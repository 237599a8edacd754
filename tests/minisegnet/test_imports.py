"""The arrows of the design: who may import whom, what `import minisegnet` loads, and where random numbers come from."""

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

import kernels
import minisegnet

ROOT = pathlib.Path(minisegnet.__file__).parents[1]
assert pathlib.Path(kernels.__file__).parents[1] == ROOT


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path, text=None, deferred=True):
    """The absolute names of all modules that a file imports; without `deferred` only at the top, when it is loaded."""
    tree = ast.parse(path.read_text(encoding="utf-8") if text is None else text)
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    found = set()
    for node in ast.walk(tree) if deferred else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module or "").split(".")] if node.module else base
            # `from . import x` may mean the module x: both count, and a name that is no module matches no rule
            found |= {".".join(base), *(".".join([*base, alias.name]) for alias in node.names)}
    return found


def reaches(name, targets):
    """Whether a module's name is one of the targets or inside one."""
    return any(name == target or name.startswith(target + ".") for target in targets)


def test_imports_are_read_correctly():
    text = "import a.b, c\nfrom . import d\nfrom .e import f\nfrom ..g import h\ndef late():\n    import i\n"
    path = ROOT / "minisegnet" / "layers" / "conv.py"
    assert imports(path, text) == {
        "a.b",
        "c",
        "minisegnet.layers",
        "minisegnet.layers.d",
        "minisegnet.layers.e",
        "minisegnet.layers.e.f",
        "minisegnet.g",
        "minisegnet.g.h",
        "i",
    }
    assert "i" not in imports(path, text, deferred=False)
    assert "minisegnet.layers.d" in imports(ROOT / "minisegnet" / "layers" / "__init__.py", text)


# ------------------------------------------------------------------ direction


@pytest.mark.parametrize("path", files("kernels"), ids=module_name)
def test_kernels_know_nothing_of_minisegnet(path):
    assert not [name for name in imports(path) if reaches(name, ["minisegnet"])]


BACKENDS = [p.parent.name for p in (ROOT / "kernels").glob("*/__init__.py")]


@pytest.mark.parametrize("path", [p for p in files("kernels") if p.parent != ROOT / "kernels"], ids=module_name)
def test_backends_do_not_import_each_other(path):
    """A backend may take from the reference what it need not do faster; nothing else, and the reference nothing."""
    own = path.relative_to(ROOT / "kernels").parts[0]
    others = [f"kernels.{name}" for name in BACKENDS if name not in (own, "reference")]
    assert not [name for name in imports(path) if reaches(name, others)]


@pytest.mark.parametrize("path", files("kernels/reference"), ids=module_name)
def test_the_reference_needs_numpy_alone(path):
    heavy = ["numba", "scipy", "torch", "cupy", "matplotlib"]
    assert not [name for name in imports(path) if reaches(name, heavy)]


INSIDE = [
    "core.py",
    "init.py",
    "summary.py",
    "combine.py",
    "pairs.py",
    *(f"layers/{p.name}" for p in files("minisegnet/layers")),
]
ABOVE = [f"minisegnet.{name}" for name in ("losses", "optim", "schedules", "gradcheck", "models", "data", "metrics")]
ABOVE += [f"minisegnet.{name}" for name in ("trainer", "checkpoint", "report", "trace", "explorer", "cli", "demo")]


@pytest.mark.parametrize("name", INSIDE)
def test_layers_know_nothing_of_what_is_built_on_them(name):
    assert not [found for found in imports(ROOT / "minisegnet" / name) if reaches(found, ABOVE)]


@pytest.mark.parametrize("name", INSIDE)
def test_a_layer_knows_no_backend(name):
    backends = [f"kernels.{backend}" for backend in BACKENDS]
    assert not [found for found in imports(ROOT / "minisegnet" / name) if reaches(found, backends)]


def test_core_is_below_the_layers():
    """core and init are imported by every layer; they look at summary, which is only for show, when asked to."""
    low = ["minisegnet.layers", "minisegnet.combine"]
    for name in ("core.py", "init.py", "summary.py"):
        assert not [found for found in imports(ROOT / "minisegnet" / name) if reaches(found, low)], name
    assert "minisegnet.summary" not in imports(ROOT / "minisegnet" / "core.py", deferred=False)


PARTS = {
    "losses": ["optim", "schedules", "gradcheck", "models", "data", "trainer", "cli", "layers", "combine"],
    "optim.py": ["losses", "schedules", "gradcheck", "models", "data", "trainer", "cli", "layers", "combine"],
    "schedules.py": ["losses", "gradcheck", "models", "data", "trainer", "cli", "layers", "combine"],
    "gradcheck": ["optim", "schedules", "models", "data", "trainer", "cli", "layers", "combine"],
}


@pytest.mark.parametrize("part", PARTS)
def test_the_parts_above_stand_side_by_side(part):
    paths = files(f"minisegnet/{part}") if not part.endswith(".py") else [ROOT / "minisegnet" / part]
    assert paths
    targets = [f"minisegnet.{name}" for name in PARTS[part]]
    for path in paths:
        assert not [name for name in imports(path) if reaches(name, targets)], path


def test_modules_have_no_circle_when_they_are_loaded():
    """Of the imports at the top of the files, none leads back to where it came from, packages aside."""
    paths = {module_name(path): path for package in ("kernels", "minisegnet") for path in files(package)}
    modules = {name: path for name, path in paths.items() if path.name != "__init__.py"}
    graph = {name: imports(path, deferred=False) & set(modules) - {name} for name, path in modules.items()}
    assert any(graph.values())
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, with the circle


# ------------------------------------------------------------------ what an import loads


def modules_after(statement):
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sorted(sys.modules))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import minisegnet", "import kernels", "from minisegnet import layers, losses, optim"]
)
def test_importing_loads_nothing_heavy(statement):
    heavy = {
        "matplotlib",
        "torch",
        "numba",
        "llvmlite",
        "tqdm",
        "scipy",
        "PIL",
        "safetensors",
        "onnx",
        "mpi4py",
        "argparse",
    }
    before = modules_after("import numpy")
    assert not heavy & modules_after(statement) - before


def test_importing_kernels_does_not_load_minisegnet():
    assert not [name for name in modules_after("import kernels") if reaches(name, ["minisegnet"])]


# ------------------------------------------------------------------ random numbers

RANDOM_ALLOWED = {"default_rng", "Generator", "SeedSequence", "BitGenerator", "PCG64"}


def attribute_chain(node):
    """np.random.rand as ["np", "random", "rand"]."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []


def global_randomness(text):
    """What in a source text draws from a random state that the whole process shares."""
    found = []
    for node in ast.walk(ast.parse(text)):
        chain = attribute_chain(node)
        if len(chain) == 3 and chain[:2] in (["np", "random"], ["numpy", "random"]) and chain[2] not in RANDOM_ALLOWED:
            found.append(".".join(chain))
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in ("random", "numpy.random")]
        if isinstance(node, ast.ImportFrom) and node.module in ("random", "numpy.random") and not node.level:
            found += [alias.name for alias in node.names if alias.name not in RANDOM_ALLOWED]
    return found


def test_global_randomness_is_recognised():
    text = "np.random.rand(3)\nnumpy.random.seed(0)\nimport random\nfrom numpy.random import normal\n"
    text += "np.random.default_rng(0)\nisinstance(rng, np.random.Generator)\nrng.random(3)"
    assert sorted(global_randomness(text)) == ["normal", "np.random.rand", "numpy.random.seed", "random"]


@pytest.mark.parametrize("path", [*files("kernels"), *files("minisegnet")], ids=module_name)
def test_nothing_uses_a_global_random_state(path):
    assert not global_randomness(path.read_text(encoding="utf-8"))
