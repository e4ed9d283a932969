"""The ways in which drawings lie in files: each lists, reads and decodes them."""
