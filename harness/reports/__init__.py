"""What a run tells: its progress, its leaderboard, what it would cost. Runs themselves are made in `execution`."""
