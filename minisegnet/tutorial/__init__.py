"""The tutorials: where they are, how they are stepped through, and what they draw with.

A tutorial is a Python script whose comments beginning with `# %%` divide it into cells of text and of code; editors
such as VS Code, Spyder and PyCharm know that form, called percent format. `minisegnet tutorial` lists them, steps
through one in the terminal, and turns one into a notebook.

    shelf     which tutorials there are, and which one a name means
    cells     a script as cells
    stepper   one cell after the other in the terminal
    notebook  the same cells as a Jupyter notebook
    draw      what the tutorials draw with
"""
