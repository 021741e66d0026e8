"""Eco² (이코에코): an AI waste-sorting coach for Korea."""

__version__ = "0.1.0"
"""Of the last release, or of the one that is prepared; a tag `vX.Y.Z` has to agree (tools/release_notes.py)."""
