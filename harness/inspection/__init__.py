"""Looking at data sets before a run does: findings, contact sheets, fetching."""
