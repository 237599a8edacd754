"""`minisegnet info`."""


def add(commands):
    parser = commands.add_parser(
        "info",
        help="versions, processor, threads, models: what to put into a bug report",
        description="Prints versions, what the processor can do, how many threads compute, where compiled kernels are "
        "kept, and which models there are.",
    )
    parser.set_defaults(run=run)


def run(options):
    import importlib.metadata
    import os
    import platform

    import kernels

    from .. import models
    from .._version import __version__

    def version(name):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return "not installed"

    from kernels.cpu.micro import MACHINE

    rows = {
        "minisegnet": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: version(name) for name in ("numpy", "numba", "llvmlite", "pillow", "safetensors", "matplotlib")},
        "torch": f"{version('torch')} (only to compare with)",
        "backends": ", ".join(kernels.available()),
        "vector unit": f"{MACHINE.name}, {MACHINE.vector_bytes or 8} bytes",
        "threads": kernels.get_num_threads(),
        "compiled kernels": os.environ.get("NUMBA_CACHE_DIR", "in __pycache__ beside the sources"),
        "models": ", ".join(models.MODELS),
    }
    for name, value in rows.items():
        print(f"{name:<18}{value}")
    return 0
