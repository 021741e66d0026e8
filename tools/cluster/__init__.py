"""A control plane on this machine: the cluster's own programs, built from their Go modules, without a container."""


class ClusterError(Exception):
    """One sentence for the terminal."""
