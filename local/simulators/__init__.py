"""The outside world on the laptop: processor and network, KYC provider, message channels, all strangers to our code."""
