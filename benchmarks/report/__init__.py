"""Tables and plots from the results of a run."""
