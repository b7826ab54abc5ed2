package main

// openFiles is not limited here.
func openFiles() int { return 0 }
