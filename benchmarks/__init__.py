"""Side-by-side timings behind docs/performance.md; ``python -m benchmarks`` runs them all."""
