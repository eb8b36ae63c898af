"""The leaderboard as a table of any form."""
