"""Side-by-side benchmarks: ours and the peer in the same run, with the ratio; they assert nothing."""
