"""Releases: which image every service of an environment runs, as the Git repository says, and how that changes."""
