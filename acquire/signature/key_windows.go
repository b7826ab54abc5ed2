package signature

import "os"

// private checks nothing: Windows has no mode bits to go by.
func private(os.FileInfo) error { return nil }
