"""What is drawn over photos, and sheets of such pictures; nothing here knows a store or a stage."""
