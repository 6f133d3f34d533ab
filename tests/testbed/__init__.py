"""The test bed: starts and stops the real parts that the tests and the demo run against."""
