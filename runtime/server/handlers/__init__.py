"""One module per noun of the Engine API: decode, call, encode."""
