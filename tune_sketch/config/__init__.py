"""Settings of a search: their flags, checks and defaults, and the plan that they make."""
