"""Where a store lies: in a folder, or behind a URL that fsspec opens. Outside, `urls` and `backend` are imported."""
