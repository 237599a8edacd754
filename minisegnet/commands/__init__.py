"""The commands, one module each: `add(commands)` declares the options, `run(options)` does the work.

A command's module imports what it needs when it runs, so that `minisegnet --help` answers at once.
"""
