"""Says how far a run is, reading only: for status, explain and the screen that is watched."""
