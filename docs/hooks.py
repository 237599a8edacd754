"""What the site has besides docs/pages: tutorials with their results, the reference, an explorer page. For MkDocs.

While you write, MINISEGNET_DRAFT=1 in the environment leaves out what the tutorials print and draw.
"""

import os
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from string import Template

import nbformat
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

from minisegnet.exercise.catalogue import ORDER
from minisegnet.explorer import generated, write_explorer
from minisegnet.tutorial.notebook import notebook
from minisegnet.tutorial.shelf import tutorials

sys.path.insert(0, str(Path(__file__).parent))
from reference import REFERENCE, reference  # MkDocs reads this file without its folder

ROOT = Path(__file__).parents[1]


def on_config(config):
    """What stands in the menu."""
    config.nav = [
        {"Overview": "index.md"},
        {
            "Tutorials": [
                "tutorials/index.md",
                *({f"{one.number} {one.title}": f"tutorials/{one.path.stem}.md"} for one in tutorials()),
            ]
        },
        {"Exercises": "exercises.md"},
        {"Explorer": "explorer.md"},
        {"Kernels": ["kernels.md", {"On a GPU": "gpu.md"}]},
        {"Reference": [{title: f"reference/{name}.md"} for name, (title, _) in REFERENCE.items()]},
    ]
    return config


@event_priority(100)  # before other plugins look at the files
def on_files(files, config):
    for name, (title, modules) in REFERENCE.items():
        files.append(File.generated(config, f"reference/{name}.md", content=reference(title, modules)))
    files.append(File.generated(config, "tutorials/index.md", content=contents()))
    files.append(File.generated(config, "exercises.md", content=exercises()))
    for name, body, pictures in results():
        files.append(File.generated(config, f"tutorials/{name}.md", content=body))
        for path, data in pictures.items():
            files.append(File.generated(config, f"tutorials/{path}", content=data))
    files.append(File.generated(config, "sample.html", content=explorer()))
    gpu = (ROOT / "kernels" / "cuda" / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "gpu.md", content=re.sub(r"\[(\w+\.py)\]\(\1\)", r"`\1`", gpu)))
    for picture in (ROOT / "tutorials" / "pictures").glob("*.png"):
        files.append(File.generated(config, f"pictures/{picture.name}", content=picture.read_bytes()))
    return files


# ---------------------------------------------------------------- tutorials, exercises


def contents():
    """The page that lists the tutorials."""
    rows = [f"| {one.number} | [{one.title}]({one.path.stem}.md) | {one.summary} |\n" for one in tutorials()]
    page = (ROOT / "docs" / "tutorials.md").read_text(encoding="utf-8")
    return page + "| | tutorial | |\n|---|---|---|\n" + "".join(rows)


def exercises():
    """The page about exercises, with tables of them."""
    head = "| exercise | difficulty | before it, read | subject |\n|---|---|---|---|\n"
    row = "| `{0.name}` | {1} | [tutorial {2}](tutorials/{0.tutorial}.md) | {0.title} |".format
    rows = {is_bug: [] for is_bug in (False, True)}
    for one in ORDER:
        rows[one.is_bug].append(row(one, "★" * one.stars, int(one.tutorial[:2])))
    page = (ROOT / "docs" / "exercises.md").read_text(encoding="utf-8")
    return Template(page).substitute(exercises=head + "\n".join(rows[False]), gallery=head + "\n".join(rows[True]))


def results():
    """(name, Markdown, {path: PNG}) of every tutorial, with what it prints and draws; two run at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(result, tutorials()))


def result(tutorial):
    made = nbformat.reads(notebook(tutorial.cells), as_version=4)
    if not os.environ.get("MINISEGNET_DRAFT"):
        with tempfile.TemporaryDirectory() as folder:
            client = NotebookClient(made, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}})
            client.extra_arguments = ["--log-level=40"]  # of the kernel: that it talks over TCP is no news
            client.execute()
    name = tutorial.path.stem
    body, found = MarkdownExporter().from_notebook_node(made, resources={"unique_key": name, "output_files_dir": name})
    return name, body, found["outputs"]


# ---------------------------------------------------------------- explorer


def explorer():
    """A page for a tiny net, trained for the purpose."""
    with tempfile.TemporaryDirectory() as folder:
        return write_explorer(generated(), Path(folder, "explorer.html")).read_text(encoding="utf-8")
