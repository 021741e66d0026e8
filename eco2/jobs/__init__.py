"""Scheduled and background work: statistics, reports, backups, and the dead letters of every queue."""
