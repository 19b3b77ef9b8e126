"""Operations on a selected model, one per file."""
