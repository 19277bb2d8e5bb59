"""The content-addressed store: layout, leases, events, backends and care."""
