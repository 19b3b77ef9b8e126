"""Weight sharing: elastic slicing of parameters, and the stateless Supernet."""
