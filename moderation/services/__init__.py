"""Operations of moderation that involve more than one model or the outside world."""
