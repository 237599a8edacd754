"""The files that `minisegnet exercise start` copies: forward is given, backward is to be written."""
