"""Whole systems on real data, to run, read and take apart."""
