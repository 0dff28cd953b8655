"""Train, export, compare and report."""
