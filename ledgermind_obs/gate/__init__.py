"""May the job run: evidence, and the verdict on it."""
