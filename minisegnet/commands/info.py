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
        **{
            name: version(name)
            for name in ("numpy", "numba", "llvmlite", "numba-cuda", "pillow", "safetensors", "matplotlib")
        },
        "torch": f"{version('torch')} (only to compare with)",
        "backends": ", ".join(kernels.available()),
        "gpu": gpu(),
        "vector unit": f"{MACHINE.name}, {MACHINE.vector_bytes or 8} bytes",
        "threads": kernels.get_num_threads(),
        "compiled kernels": os.environ.get("NUMBA_CACHE_DIR", "in __pycache__ beside the sources"),
        "models": ", ".join(models.MODELS),
    }
    for name, value in rows.items():
        print(f"{name:<18}{value}")
    return 0


def gpu():
    """What --device cuda would compute on, or what is missing."""
    import kernels

    try:
        kernels.check_device_name("cuda")
    except kernels.DeviceError as error:
        return str(error)
    from kernels.cuda.device import device

    found, gib = device(), 2**30
    if found.name == "simulator":
        return "simulated (NUMBA_ENABLE_CUDASIM=1)"
    return (
        f"{found.name}, compute capability {found.compute_capability}, {found.multiprocessors} multiprocessors, "
        f"{found.free / gib:.1f} of {found.total / gib:.1f} GiB free, driver for CUDA {found.driver}, "
        f"toolkit {found.toolkit}"
    )
