"""Network architectures, their builders and their initial weights."""
