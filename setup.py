"""What pyproject.toml can't say: a wheel carries the tutorials inside the package.

In the repository they stand beside it, in tutorials/, where readers look for them; an editable install uses them
there. `minisegnet.tutorial.shelf` knows both places.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithTutorials(build_py):
    """Copies tutorials/NN_topic.py to minisegnet/tutorial/scripts of what is built."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, "minisegnet", "tutorial", "scripts")
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build, perhaps with tutorials of other names
        target.mkdir(parents=True)
        for path in sorted(Path("tutorials").glob("[0-9][0-9]_*.py")):
            shutil.copy2(path, target)


setup(cmdclass={"build_py": WithTutorials})
