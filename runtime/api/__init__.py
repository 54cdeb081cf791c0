"""The contract between the engine and everything that talks to it: bodies, errors, frames, client."""
