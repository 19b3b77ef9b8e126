"""What a search does with relaxed trainings."""
