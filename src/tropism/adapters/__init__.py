"""Tropism."""
