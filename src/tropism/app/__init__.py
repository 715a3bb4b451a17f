"""Composing an app, and opening the platform it runs on."""
