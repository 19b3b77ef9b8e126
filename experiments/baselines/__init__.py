"""Published methods that the studies compare aebnas with; aebnas itself doesn't use them."""
