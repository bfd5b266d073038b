((quarter >= before_start AND quarter < before_end) OR (quarter >= this_start AND quarter < this_end))
