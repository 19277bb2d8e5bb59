"""The care of a store, wherever it lies: what fills it, whether it is whole, what can go, archives out and in."""
