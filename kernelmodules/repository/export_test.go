package repository

import "time"

// SetWait sets how long w waits before it tries again.
func (w *Web) SetWait(d time.Duration) { w.wait = d }
