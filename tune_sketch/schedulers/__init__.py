"""Early stopping: rungs and ASHA's rule, as functions of recorded trials."""
