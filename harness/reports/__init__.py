"""What a run tells: its leaderboard, its progress, what it would cost."""
