"""What is drawn over photos, and sheets of such pictures."""
