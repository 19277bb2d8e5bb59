"""The care of a store: what it holds, whether it is whole, what nobody needs, archives in and out."""
