"""The command line: every flag once, with its default, its limits and what it has no use beside; the name of a run."""
