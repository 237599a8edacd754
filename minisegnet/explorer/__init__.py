"""The explorer: one page to step through a recorded pass, forward and backward, pixel by pixel.

    subject = generated()                              a small net, a picture, its truth
    subject = of_run("runs/a", "street.png", "mask.png", size=64)
    write_explorer(subject, "explorer.html")

    subject   what is looked at: a net, a picture, a truth
    pack      which recorded arrays travel with the page, and which ones the page derives from them
    bundle    JavaScript modules as one script
    view      how much of the picture is shown: all of it made smaller, or a part of it at full size
    page      the parts put together

The page's own code is in the folder page/: plain JavaScript modules, one style sheet, one HTML template. No network.
"""

from .page import check_output, write_explorer
from .subject import Subject, generated, of_run

__all__ = ["Subject", "check_output", "generated", "of_run", "write_explorer"]
