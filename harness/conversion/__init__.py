"""What other programs of the field write, converted to what Seedbed reads."""
