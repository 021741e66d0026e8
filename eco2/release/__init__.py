"""Releases: the image of every service of an environment, as the Git repository has it, and its changes."""
