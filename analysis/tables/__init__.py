"""Tables of the report, each also written as a CSV file."""
