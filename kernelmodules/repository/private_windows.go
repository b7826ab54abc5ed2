package repository

import "os"

// private leaves the matter to the system.
func private(os.FileInfo) error { return nil }
