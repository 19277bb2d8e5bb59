"""What other programs of the field write, converted to what Seedbed reads: `maps.import_maps` is the way in."""
