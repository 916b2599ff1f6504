"""Commands that measure: the article's experiment, the Adam paper's figures. Each writes its own part of RESULTS.md."""
