"""What all these tests need from the process that they run in."""

import signal


def pytest_configure(config):
    """Hear Ctrl-C: processes that a shell starts in the background ignore it, and would hand that down to children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
