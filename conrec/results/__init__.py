"""What is measured, what it is set beside, what a run leaves, and the filter."""
