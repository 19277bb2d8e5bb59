"""What a run tells: what it would cost, how it goes, and its leaderboard. Runs themselves are made in `execution`."""
