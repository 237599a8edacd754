"""What all these tests need from the process that they run in."""

import signal


def pytest_configure(config):
    """Hear signals that a process in the background or under nohup ignores, and would hand down so to its children."""
    for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)  # there is no SIGHUP on Windows
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
