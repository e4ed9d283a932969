"""Search strategies: each proposes the next configuration as a pure function of the journal."""
