"""Additions of `eco2 up --observe`: Prometheus, Alertmanager and exporters with the cluster's rules, and a collector of
traces."""
