"""`python -m benchmarks.evaluation` writes the page of figures."""

from benchmarks.evaluation import main

main()
