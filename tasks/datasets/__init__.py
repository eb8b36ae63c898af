"""The data sets, a module or package each."""
