"""Read tar archives: V7, ustar, pax, GNU and star, from front to back, in memory that does not grow with them."""
