"""The files of the gallery: layers, losses and optimisers that have a bug. Their stories are in topics/bugs_*.py."""
