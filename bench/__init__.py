"""Measurements, each against a peer on the same work in the same run."""
