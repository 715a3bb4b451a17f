"""What the ports stand on: a folder per technology, a file per port; the only code that imports a vendor."""
