"""`--method analytic`: a few numbers per core and kernels, fitted to published latencies."""
