"""The benchmarks themselves, one module or package each."""
