"""Contract suites that the test of a new algorithm inherits."""
