"""Looking at data sets before a run does: what is odd about them, what an audit drops; and downloading them."""
