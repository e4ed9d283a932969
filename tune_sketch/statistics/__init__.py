"""Statistics of accuracies: intervals, and comparisons of networks."""
