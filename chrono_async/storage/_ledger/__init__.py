"""The leasing verbs over a medium that keeps each job by itself: read, decide on the rules, write back on condition."""
