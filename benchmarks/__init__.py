"""Commands that measure. Each writes its own part of RESULTS.md."""
