"""From raw files to splits: reading, converting, fetching, the published rules, and what items are called."""
