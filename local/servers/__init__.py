"""The embedded servers of the laptop: PostgreSQL and Valkey, found, started, watched and stopped."""
